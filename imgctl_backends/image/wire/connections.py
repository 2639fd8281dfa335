"""urllib3's connections, with their sockets in the grip of the request they serve."""

from __future__ import annotations

import socket
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from imgctl_backends.image.wire.flight import current_grip


class GrippedConnection(HTTPConnection):
    """Connects under a timeout of its own, and can be cut from another thread."""

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        grip = current_grip()
        if grip is not None:
            try:
                if grip.guard is not None:
                    grip.guard(str(sock.getpeername()[0]))
            except BaseException:
                sock.close()
                raise
            grip.hold(sock)
        return sock

    def connect(self) -> None:
        # urllib3 sends under its connect timeout. Ours for sending is longer than the
        # one for connecting, so the shorter one holds just here.
        sending, grip = self.timeout, current_grip()
        if grip is not None:
            self.timeout = grip.connect_seconds
        try:
            super().connect()
        finally:
            self.timeout = sending
        if self.sock is not None:
            self.sock.settimeout(sending)

    def request(self, *args: Any, **kwargs: Any) -> None:
        grip = current_grip()
        if grip is not None and self.sock is not None:
            grip.hold(self.sock)
        super().request(*args, **kwargs)


class GrippedTlsConnection(GrippedConnection, HTTPSConnection):
    """The same over TLS."""


class GrippedPool(HTTPConnectionPool):
    ConnectionCls = GrippedConnection


class GrippedTlsPool(HTTPSConnectionPool):
    ConnectionCls = GrippedTlsConnection


POOLS = {"http": GrippedPool, "https": GrippedTlsPool}
