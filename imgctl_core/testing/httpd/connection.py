"""One client's connection: requests in, responses out, until either side has enough."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from typing import BinaryIO, Final, cast

from imgctl_core.testing.httpd.body import Body
from imgctl_core.testing.httpd.errors import BadRequest, ClientGone, Gone
from imgctl_core.testing.httpd.faults import Fault
from imgctl_core.testing.httpd.messages import Headers, Request, RequestRecord, Response
from imgctl_core.testing.httpd.sending import Sender
from imgctl_core.testing.httpd.waiting import Patience

_LINE: Final = 64 * 1024
_FIELDS: Final = 200
_DRAIN: Final = 8 * 1024 * 1024
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Answer = Callable[[Request], tuple[Response, Fault, RequestRecord]]


class Connection:
    """Serves one socket. `answer` says what to answer, and what to do wrong."""

    def __init__(
        self, sock: socket.socket, answer: Answer, stopping: threading.Event, scheme: str
    ) -> None:
        self._socket = sock
        self._answer = answer
        self._stopping = stopping
        self._scheme = scheme
        self._patience = Patience(sock, stopping)
        self._sender = Sender(sock, self._patience)
        self._close = False
        self.was_reset = False

    def serve(self) -> None:
        """Return when the connection is to be closed.

        Raises:
            OSError: it broke.
        """
        with self._socket.makefile("rb") as source:
            while not self._close and not self._stopping.is_set():
                try:
                    request = self._read(cast("BinaryIO", source))
                except BadRequest as error:
                    refusal = Response(400, {}, str(error).encode())
                    record = RequestRecord("GET", "", 400, Headers())
                    self._sender.send(refusal, Fault(), record, closing=True)
                    return
                if request is None:
                    return
                self._exchange(request)

    def _exchange(self, request: Request) -> None:
        try:
            response, fault, record = self._answer(request)
        except Gone:
            self._reset()
            return
        try:
            if fault.drop or fault.lose:
                self._reset()
            else:
                self._finish(request, response, fault, record)
        finally:
            record.received = request.body.received
            response.close()

    def _finish(
        self, request: Request, response: Response, fault: Fault, record: RequestRecord
    ) -> None:
        try:
            goes_on = self._sender.send(response, fault, record, closing=self._close)
        except Gone:
            self._reset()
            return
        with contextlib.suppress(ClientGone, BadRequest):
            if goes_on and not self._close and request.body.drain(_DRAIN):
                return
        self._close = True

    def _read(self, source: BinaryIO) -> Request | None:
        line = source.readline(_LINE)
        while line in (b"\r\n", b"\n"):
            line = source.readline(_LINE)
        if not line:
            return None
        words = line.decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1.") or not _TOKEN.fullmatch(words[0]):
            raise BadRequest("no HTTP/1.1 request line")
        method, target, version = words
        headers = self._read_headers(source)
        options = headers.get("Connection").lower()
        self._close = "close" in options or (version == "HTTP/1.0" and "keep-alive" not in options)
        chunked = "chunked" in headers.get("Transfer-Encoding").lower()
        length = headers.get("Content-Length")
        if length and not (length.isascii() and length.isdigit()):
            raise BadRequest("Content-Length is no number")
        body = Body(source, int(length) if length and not chunked else None, chunked)
        if headers.get("Expect").lower() == "100-continue":
            body.before_first_read = self._continue
        return Request(method, target, headers, body, self._scheme, self._patience.until)

    def _read_headers(self, source: BinaryIO) -> Headers:
        fields: list[tuple[str, str]] = []
        for _ in range(_FIELDS):
            line = source.readline(_LINE)
            if not line:
                raise BadRequest("the headers don't end")
            if line in (b"\r\n", b"\n"):
                return Headers(fields)
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not _TOKEN.fullmatch(name):
                raise BadRequest("a header field has no name")
            fields.append((name, value.strip()))
        raise BadRequest("too many header fields")

    def _continue(self) -> None:
        self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _reset(self) -> None:
        # Lingering for no time makes the close a reset, as of a peer that died.
        self._close = self.was_reset = True
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
