"""The reading of a request's body, and what goes wrong with it on purpose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from imgctl_core.testing.httpd.errors import BadRequest, ClientGone
from imgctl_core.testing.httpd.waiting import Pace, Wait

_PIECE: Final = 256 * 1024
_LINE: Final = 64 * 1024


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class BodyFault:
    """What goes wrong while a body is read; see `Fault` for the words."""

    cut_after: int | None = None
    stall_after: int | None = None
    release: threading.Event | None = None
    corrupt: bool = False


class Body:
    """A request's body, read as it arrives. `received` counts its bytes."""

    def __init__(self, source: BinaryIO, length: int | None, chunked: bool) -> None:
        self.length = None if chunked else length or 0
        self.received = 0
        self.done = not chunked and not self.length
        self.before_first_read = _nothing
        self._source = source
        self._left = length or 0
        self._chunked = chunked
        self._fault = BodyFault()
        self._wait: Wait | None = None
        self._pace: Pace | None = None

    def go_wrong(self, fault: BodyFault, wait: Wait, pace: Pace | None) -> None:
        """Let a fault strike while the body is read."""
        self._fault = fault
        self._wait = wait
        self._pace = pace

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in pieces.

        Raises:
            ClientGone: the connection ended first.
        """
        while not self.done:
            piece = self._next()
            if piece:
                yield piece

    def read(self, limit: int) -> bytes | None:
        """Return the whole body, or None when it is longer than `limit` bytes."""
        pieces, size = [], 0
        for piece in self:
            size += len(piece)
            if size > limit:
                return None
            pieces.append(piece)
        return b"".join(pieces)

    def drain(self, limit: int) -> bool:
        """Throw away what is left, at most `limit` bytes; return whether that was all.

        A body that the client holds back until it is asked for stays where it is.
        """
        if not self.done and self.before_first_read is not _nothing:
            return False
        for piece in self:
            limit -= len(piece)
            if limit < 0:
                return False
        return True

    def _next(self) -> bytes:
        self.before_first_read()
        self.before_first_read = _nothing
        if self._chunked and not self._left:
            self._left = self._chunk_size()
            if not self._left:
                self._trailer()
                self.done = True
                return b""
        want = self._room(min(self._left, _PIECE))
        piece = self._source.read(want) if want > 0 else b""
        if len(piece) < want or not piece:
            raise ClientGone("the connection ended within a request")
        return self._took(piece)

    def _room(self, want: int) -> int:
        fault = self._fault
        if fault.stall_after is not None:
            if self.received < fault.stall_after:
                want = min(want, fault.stall_after - self.received)
            elif self.received == fault.stall_after:
                self._stall(fault.release)
        if fault.cut_after is not None:
            want = min(want, fault.cut_after - self.received)
        return min(want, self._pace.piece) if self._pace else want

    def _stall(self, release: threading.Event | None) -> None:
        if self._wait is not None and not self._wait(release):
            raise ClientGone("the client did not wait for its body to be read")

    def _took(self, piece: bytes) -> bytes:
        if self._fault.corrupt and not self.received:
            piece = bytes([piece[0] ^ 0xFF]) + piece[1:]
        self._left -= len(piece)
        self.received += len(piece)
        if self._pace is not None:
            self._pace.passed(len(piece))
        if not self._left:
            if self._chunked:
                self._source.readline(_LINE)
            else:
                self.done = True
        return piece

    def _chunk_size(self) -> int:
        line = self._source.readline(_LINE)
        if not line:
            raise ClientGone("the connection ended within a request")
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError:
            raise BadRequest("a chunk has no size") from None

    def _trailer(self) -> None:
        while self._source.readline(_LINE).strip():
            pass
