"""The public kit for testing plugins and servers."""
