"""The typed Python client: login, channel and calls."""
