"""What ends an exchange early."""

from __future__ import annotations


class Gone(ConnectionError):
    """A connection that the exchange needs is no more; the client's is reset."""


class ClientGone(Gone):
    """The client went away before its request was complete."""


class UpstreamGone(Gone):
    """The server that the answer comes from went away."""


class Broken(Gone):
    """The server breaks the connection itself, instead of an answer."""


class BadRequest(ValueError):
    """What came in is not HTTP/1.1."""
