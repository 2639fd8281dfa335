"""Connections to the server behind the proxy, kept for as long as they are good."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from imgctl_core.testing.httpd import UpstreamGone
from imgctl_core.testing.httpd.body import Body
from imgctl_core.tls import TlsSocket

_MOST_IDLE: Final = 64


class UpstreamConnection:
    """One connection to the server behind."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._whole = True

    @property
    def speaks(self) -> bool:
        """Whether something came that nobody has read: an answer, or the end."""
        sock = self._connection.sock
        if sock is None:
            return False
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent."""
        return self._connection.sock is not None and self._whole and not self.speaks

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, *, chunked: bool
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer, its body unread.

        Raises:
            UpstreamGone: the server can't be reached, or gives no answer.
        """
        connection = self._connection
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders()
        except (http.client.HTTPException, OSError) as error:
            raise UpstreamGone(f"the server behind is away: {type(error).__name__}") from error
        self._send(body, chunked=chunked)
        try:
            return connection.getresponse()
        except (http.client.HTTPException, OSError) as error:
            raise UpstreamGone(f"the server behind is silent: {type(error).__name__}") from error

    def close(self) -> None:
        self._connection.close()

    def _send(self, body: Body, *, chunked: bool) -> None:
        # A server may answer, and even hang up, before it has read everything.
        for piece in body:
            if not self._sent(_chunk(piece) if chunked else piece):
                self._whole = False
                return
        if chunked:
            self._whole = self._sent(_chunk(b""))

    def _sent(self, piece: bytes) -> bool:
        sock = self._connection.sock
        try:
            if isinstance(sock, ssl.SSLSocket):
                if not self.speaks:
                    sock.sendall(piece)
                    return True
            elif sock is not None:
                return self._sent_patiently(sock, memoryview(piece))
        except OSError:
            pass
        return False

    def _sent_patiently(self, sock: socket.socket, piece: memoryview) -> bool:
        # A server that has answered may read no further, and then nothing more fits in.
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN | select.POLLOUT)
        timeout = sock.gettimeout()
        while piece:
            events = [event for _, event in poll.poll(timeout and timeout * 1000)]
            if not events or events[0] & ~select.POLLOUT:
                return False
            piece = piece[sock.send(piece, socket.MSG_DONTWAIT) :]
        return True


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Upstream:
    """The server behind, by its URL."""

    def __init__(self, url: str, ca_file: Path | None, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http or https URL")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.hostname
        self._port = parts.port
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=ca_file)
            self._tls.sslsocket_class = TlsSocket
            # TLS 1.3 sends tickets unasked, which look like an answer come early.
            self._tls.maximum_version = ssl.TLSVersion.TLSv1_2
        self._lock = threading.Lock()
        self._idle: list[UpstreamConnection] = []

    def connect(self) -> UpstreamConnection:
        """Return a connection that nobody else uses."""
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if connection.is_open:
                    return connection
                connection.close()
        return UpstreamConnection(self._new())

    def give_back(self, connection: UpstreamConnection) -> None:
        """Take a connection back whose answer was read to its end."""
        with self._lock:
            if connection.is_open and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _new(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout, context=self._tls
        )
