"""TLS as a client: whom it trusts, and sockets that end with their connection."""

from __future__ import annotations

import errno
import ssl
from typing import Any


def client_context() -> ssl.SSLContext:
    """Return a context that checks certificates and names, for TLS 1.2 and newer.

    It trusts the system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR, which
    OpenSSL reads. A peer that hangs up before TLS begins leaves no socket open.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TlsSocket
    return context


class TlsSocket(ssl.SSLSocket):
    """Closes itself when the connection has ended before TLS began on it.

    Make it the `sslsocket_class` of a context that wraps connected sockets only. Without
    it, `ssl` takes such a socket for one that nobody connected yet: it hands it out with
    nothing encrypted, or, before Python 3.11.8 and 3.12.2, fails and leaves it open until
    the collector finds it.
    """

    def getpeername(self) -> Any:
        """Return the peer's address.

        Raises:
            ConnectionAbortedError: there is no peer any more, and TLS has not begun.
            OSError: there is no peer any more.
        """
        try:
            return super().getpeername()
        except OSError:
            # Wrapping asks for the peer first; `repr` asks, too, and must close nothing.
            if self.version() is not None:
                raise
            self.close()
            raise ConnectionAbortedError(
                errno.ECONNABORTED, "the connection ended before TLS began"
            ) from None
