"""The command line: a client of the server, the server itself, and the sandbox."""
