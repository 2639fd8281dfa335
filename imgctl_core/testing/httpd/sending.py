"""Responses on their way out, and what goes wrong with them on purpose."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Final

from imgctl_core.testing.httpd.errors import ClientGone
from imgctl_core.testing.httpd.faults import Fault
from imgctl_core.testing.httpd.messages import RequestRecord, Response
from imgctl_core.testing.httpd.waiting import Pace, Patience

_TOGETHER: Final = 64 * 1024
_FLUSH_SECONDS: Final = 5.0


class Sender:
    """Sends responses to one client."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._socket = sock
        self._patience = patience

    def send(
        self, response: Response, fault: Fault, record: RequestRecord, *, closing: bool
    ) -> bool:
        """Send a response; return whether the connection may go on.

        Raises:
            OSError: the client went away, or the connection is to be reset.
        """
        bodiless = record.method == "HEAD" or response.status in (204, 304)
        head = _head(response, closing=closing, bodiless=bodiless)
        if bodiless:
            self._socket.sendall(head)
            return True
        length = response.length
        stop = _stop(fault, length)
        if (
            isinstance(response.body, bytes)
            and len(response.body) <= _TOGETHER
            and (stop is None and not fault.rate)
        ):
            record.sent += len(response.body)
            self._socket.sendall(head + response.body)
            return True
        self._socket.sendall(head)
        pace = Pace(fault.rate, self._patience.pause)
        for piece in _parts(response.pieces(), stop, pace.piece):
            if record.sent == stop and not self._strike(fault, stop):
                return False
            record.sent += len(piece)
            self._socket.sendall(piece if length is not None else _chunk(piece))
            pace.passed(len(piece))
        if length is None:
            self._socket.sendall(b"0\r\n\r\n")
        return length is None or record.sent == length

    def _strike(self, fault: Fault, stop: int) -> bool:
        if fault.cut_after == stop:
            self._flush()
            raise ClientGone("the connection is cut on purpose")
        if fault.short_after == stop:
            return False
        if not self._patience.until(fault.release):
            raise ClientGone("the client did not wait")
        return True

    def _flush(self) -> None:
        # A reset throws away what the kernel has not sent yet, so that how much arrives
        # would be luck.
        deadline = time.monotonic() + _FLUSH_SECONDS
        with contextlib.suppress(OSError):
            while not self._patience.in_vain and time.monotonic() < deadline:
                waiting = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
                if not struct.unpack("i", waiting)[0]:
                    return
                self._patience.pause(0.001)


def _stop(fault: Fault, length: int | None) -> int | None:
    """Return after how many bytes something goes wrong, None when nothing does."""
    wanted = (fault.cut_after, fault.short_after, fault.stall_after)
    stops = [stop for stop in wanted if stop is not None and (length is None or stop < length)]
    return min(stops, default=None)


def _parts(
    pieces: Iterable[bytes | memoryview], stop: int | None, largest: int
) -> Iterator[bytes | memoryview]:
    """Cut pieces so that one ends at `stop` and none is larger than `largest`."""
    done = 0
    for whole in pieces:
        piece = whole
        while piece:
            size = min(len(piece), largest)
            if stop is not None and done < stop:
                size = min(size, stop - done)
            yield piece[:size]
            done += size
            piece = piece[size:]


def _chunk(piece: bytes | memoryview) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), bytes(piece))


def _head(response: Response, *, closing: bool, bodiless: bool) -> bytes:
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {response.status} {phrase}"]
    said = {name.lower() for name in response.headers}
    for name, values in response.headers.items():
        several = (values,) if isinstance(values, str) else values
        lines += [f"{name}: {value}" for value in several]
    if "content-length" not in said and response.status not in (204, 304):
        if response.length is not None:
            lines.append(f"Content-Length: {response.length}")
        elif not bodiless:
            lines.append("Transfer-Encoding: chunked")
    if closing:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
