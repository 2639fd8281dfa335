"""Faults: what a server does wrong on purpose."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from imgctl_core.testing.httpd.messages import FileBody, Request, Response, StreamBody


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. Several may be combined.

    answer
        This is the response; the request is not handled. Its body stays unread, unless
        `late` is set.
    delay
        Seconds to wait first. `hold` waits for an event instead: nothing to be timed.
    drop
        The connection is reset without a response, the request not handled.
    lose
        The request is handled, and then the connection reset without a response.
    cut_request_after
        The client's connection breaks after this many bytes of the request's body.
    stall_request_after
        No more than this many bytes of the request's body are read until `release` is
        set, for ever without one.
    corrupt_request
        The first byte of the request's body is another one when it is handled.
    cut_after
        The connection is reset after this many bytes of the response's body.
    short_after
        The same, but closed in good order: the response is shorter than it said.
    stall_after
        The same, but nothing more comes until `release` is set, for ever without one.
    truncate
        The response has this many bytes of its body, and says so: whole, and wrong.
    corrupt
        The middle byte of the response's body is another one; the first where nobody
        knows how long it is.
    rate
        Bytes a second of both bodies.

    Waiting ends when the client goes away, too.
    """

    answer: Response | None = None
    late: bool = False
    delay: float = 0.0
    hold: threading.Event | None = None
    drop: bool = False
    lose: bool = False
    cut_request_after: int | None = None
    stall_request_after: int | None = None
    corrupt_request: bool = False
    cut_after: int | None = None
    short_after: int | None = None
    stall_after: int | None = None
    release: threading.Event | None = None
    truncate: int | None = None
    corrupt: bool = False
    rate: float = 0.0

    def spoil(self, response: Response) -> Response:
        """Return the response with what `truncate` and `corrupt` do to it."""
        if self.truncate is None and not self.corrupt:
            return response
        length = response.length
        pieces: Iterable[bytes | memoryview] = response.pieces()
        if self.truncate is not None:
            pieces = _first(pieces, self.truncate)
            length = self.truncate if length is None else min(length, self.truncate)
        if self.corrupt:
            pieces = _another_byte(pieces, (length or 0) // 2)
        headers = {k: v for k, v in response.headers.items() if k.lower() != "content-length"}
        if isinstance(response.body, bytes | FileBody):
            return replace(response, headers=headers, body=b"".join(pieces))
        body = StreamBody((bytes(piece) for piece in pieces), length, response.close)
        return replace(response, headers=headers, body=body)


def _first(pieces: Iterable[bytes | memoryview], count: int) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        if count <= 0:
            return
        yield piece[:count]
        count -= len(piece)


def _another_byte(pieces: Iterable[bytes | memoryview], position: int) -> Iterator[bytes]:
    for piece in pieces:
        changed = bytearray(piece)
        if 0 <= position < len(changed):
            changed[position] ^= 0xFF
        position -= len(changed)
        yield bytes(changed)


#: Asked once for every request, in the thread that serves it; None is "nothing wrong".
Hook = Callable[[Request], Fault | None]


class Injected:
    """A fault for the requests that match, and how often it struck.

    `method` is compared exactly (empty for any), `pattern` is searched in the path with
    its query. The first `skip` matches go well, then `times` of them fail (None for all).
    """

    def __init__(
        self, fault: Fault, method: str, pattern: str, times: int | None, skip: int
    ) -> None:
        self._fault = fault
        self._method = method
        self._pattern = re.compile(pattern)
        self._times = times
        self._skip = skip
        self._lock = threading.Lock()
        self.struck = threading.Event()
        self.hits = 0

    def __call__(self, request: Request) -> Fault | None:
        if self._method and request.method != self._method:
            return None
        if not self._pattern.search(request.target):
            return None
        with self._lock:
            if self._skip:
                self._skip -= 1
                return None
            if self._times is not None and self.hits >= self._times:
                return None
            self.hits += 1
        self.struck.set()
        return self._fault
