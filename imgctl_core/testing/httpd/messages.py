"""Requests and responses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from imgctl_core.testing.httpd.body import Body
from imgctl_core.testing.httpd.waiting import Wait

_PIECE: Final = 256 * 1024


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


def _wait_blindly(release: threading.Event | None) -> bool:
    return (release or threading.Event()).wait()


@dataclass(frozen=True)
class Request:
    """One request. `target` is the path with its query, as sent.

    `wait` waits for an event for as long as the client does, too.
    """

    method: str
    target: str
    headers: Headers
    body: Body
    scheme: str = "http"
    wait: Wait = field(default=_wait_blindly, repr=False, compare=False)

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

    def pieces(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.length
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece


@dataclass(frozen=True)
class StreamBody:
    """A body that comes from elsewhere, once. `length` is None when nobody knows it yet.

    `close` is called when the exchange is over, however it ended.
    """

    source: Iterable[bytes]
    length: int | None
    close: Callable[[], None] = field(default=lambda: None, repr=False)

    def pieces(self) -> Iterator[bytes]:
        return iter(self.source)


@dataclass(frozen=True)
class Response:
    """One response. To a HEAD request only the headers of it go out.

    A header's value may be several values, each sent in a field of its own. Length and
    connection are the server's to say, unless the headers say so.
    """

    status: int
    headers: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    body: bytes | FileBody | StreamBody = b""

    @property
    def length(self) -> int | None:
        """Bytes of the body, None for a stream whose end nobody knows."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield the body in pieces that fit a socket's buffer."""
        if not isinstance(self.body, bytes):
            yield from self.body.pieces()
            return
        view = memoryview(self.body)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]

    def close(self) -> None:
        """Let go of where the body comes from."""
        if isinstance(self.body, StreamBody):
            self.body.close()


@dataclass(slots=True)
class RequestRecord:
    """What the log keeps of a request, written before its response goes out.

    `received` and `sent` count the bytes of the bodies, and grow until the exchange is
    over. Status 0 is "no answer": the connection was reset.
    """

    method: str
    target: str
    status: int
    headers: Headers = field(repr=False)
    received: int = 0
    sent: int = 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]
