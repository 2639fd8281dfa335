"""The ways to bring a file: whole, in parts, or through this machine."""
