"""Requests and responses, and the reading of a request's body."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import parse_qsl

_PIECE: Final = 256 * 1024
_LINE: Final = 64 * 1024


class ClientGone(ConnectionError):
    """The client went away before its request was complete."""


class BadRequest(ValueError):
    """What came in is not HTTP/1.1."""


class Headers:
    """Header fields by name in any case; a repeated one reads as one, joined by commas."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            self._fields[key] = f"{self._fields[key]}, {value}" if key in self._fields else value

    def get(self, name: str, default: str = "") -> str:
        return self._fields.get(name.lower(), default)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)


class Body:
    """A request's body, read as it arrives. `received` counts its bytes."""

    def __init__(self, source: BinaryIO, length: int | None, chunked: bool) -> None:
        self._source = source
        self._left = length or 0
        self._chunked = chunked
        self._cut_after: int | None = None
        self.received = 0
        self.done = not chunked and not self._left
        self.before_first_read = _nothing

    def cut_after(self, count: int) -> None:
        """Pretend that the client goes away after that many bytes."""
        self._cut_after = count

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
        want = min(self._left, _PIECE)
        if self._cut_after is not None:
            want = min(want, self._cut_after - self.received)
        piece = self._source.read(want) if want > 0 else b""
        if len(piece) < want or not piece:
            raise ClientGone("the connection ended within a request")
        self._left -= len(piece)
        self.received += len(piece)
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


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Request:
    """One request. `target` is the path with its query, as sent."""

    method: str
    target: str
    headers: Headers
    body: Body
    scheme: str = "http"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def parameter(self, name: str) -> str:
        """Return the query's first value of that name, or an empty string."""
        return next((value for key, value in self.query if key == name), "")


@dataclass(frozen=True)
class FileBody:
    """`length` bytes of a file from `offset` on, as the body of a response."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True)
class Response:
    """One response. To a HEAD request only the headers of it go out.

    A header's value may be several values, each sent in a field of its own. Length and
    connection are the server's to say, unless the headers say so.
    """

    status: int
    headers: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    body: bytes | FileBody = b""

    @property
    def length(self) -> int:
        return self.body.length if isinstance(self.body, FileBody) else len(self.body)

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield the body in pieces that fit a socket's buffer."""
        if isinstance(self.body, FileBody):
            with self.body.path.open("rb") as file:
                file.seek(self.body.offset)
                left = self.body.length
                while left and (piece := file.read(min(left, _PIECE))):
                    left -= len(piece)
                    yield piece
            return
        view = memoryview(self.body)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What the log keeps of a request, written before its response goes out."""

    method: str
    target: str
    status: int
    headers: Headers = field(repr=False)
    received: int = 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]
