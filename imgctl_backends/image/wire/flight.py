"""Cancelling work that hangs in a socket.

urllib3 offers no way to wake a thread that is sending. So every request puts a duplicate
of its socket into a `Grip` while it is under way, and a `Flight`, one for each phase of
a promotion, shuts all of them down at once when it is cut. A duplicate, because a socket
object is replaced when TLS begins and leaves its connection when an answer says
`Connection: close`; and because `SSLSocket.shutdown` forgets the encryption before it
closes the line, so that a thread sending at that moment would send in clear.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from imgctl_backends.image.wire.faults import Abandoned
from imgctl_core.context import Context


class Flight:
    """The connections that one phase of a promotion has in use. Use it in a `with`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._lock = threading.Lock()
        self._cut = threading.Event()
        self._held: set[socket.socket] = set()
        self._take_back: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._take_back = self.context.cancel.on_cancel(self.cut)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._take_back()

    def cut(self) -> None:
        """Shut down every connection in use, and every one to come. Never blocks long."""
        with self._lock:
            self._cut.set()
            for held in self._held:
                _shut(held)

    def check(self) -> None:
        """Call this between steps.

        Raises:
            Cancelled: somebody asked for the work to stop.
            DeadlineExceeded: the time is up.
            Abandoned: a sibling failed.
        """
        self.context.check()
        if self._cut.is_set():
            raise Abandoned

    def pause(self, seconds: float) -> None:
        """Sleep, but not longer than the work may last; raises like `check`."""
        left = self.context.remaining()
        self._cut.wait(seconds if left is None else min(seconds, left))
        self.check()

    def hold(self, handle: socket.socket) -> None:
        with self._lock:
            self._held.add(handle)
            if self._cut.is_set():
                _shut(handle)

    def drop(self, handle: socket.socket) -> None:
        with self._lock:
            self._held.discard(handle)
            handle.close()


class Grip:
    """The sockets of one request, and what a new connection of it must respect.

    `guard` is called with the peer's IP address before anything is sent there.
    """

    def __init__(
        self,
        flight: Flight,
        connect_seconds: float,
        guard: Callable[[str], None] | None = None,
    ) -> None:
        self._flight = flight
        self.connect_seconds = connect_seconds
        self.guard = guard
        self._handles: list[socket.socket] = []

    def hold(self, sock: socket.socket) -> None:
        """Let the flight cut this socket from now on."""
        try:
            handle = socket.socket(fileno=os.dup(sock.fileno()))
        except OSError:
            return  # closed by the peer already: the request itself will find out
        self._handles.append(handle)
        self._flight.hold(handle)

    def release(self) -> None:
        """The request is over. Idempotent."""
        while self._handles:
            self._flight.drop(self._handles.pop())


_local = threading.local()


def current_grip() -> Grip | None:
    """Return the grip of the request that this thread is sending."""
    grip: Grip | None = getattr(_local, "grip", None)
    return grip


@contextlib.contextmanager
def gripping(grip: Grip) -> Iterator[None]:
    """Make a grip the current one: a body that is read from elsewhere nests them."""
    outer = current_grip()
    _local.grip = grip
    try:
        yield
    finally:
        _local.grip = outer


def _shut(handle: socket.socket) -> None:
    with contextlib.suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)
