"""Waiting on a connection's behalf, for no longer than somebody is at its other end."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

#: Waits until the event is set (None: for ever), and says whether it was. False: the
#: client went away, or the server stops.
Wait = Callable[[threading.Event | None], bool]

_TURN: Final = 0.02
# Told apart from bytes that wait to be read, and seen under TLS too. Linux has it;
# elsewhere a client that leaves is seen when the server stops.
_LEFT: Final[int] = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Patience:
    """Waits, looking after the client and the server's end."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._poll = select.poll()
        self._poll.register(sock.fileno(), _LEFT)

    @property
    def in_vain(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self._stopping.is_set() or bool(self._poll.poll(0))

    def until(self, release: threading.Event | None) -> bool:
        """Wait for the event; see `Wait`."""
        never = release or threading.Event()
        while not never.wait(_TURN):
            if self.in_vain:
                return False
        return True

    def pause(self, seconds: float) -> None:
        """Wait that long, or until the server stops."""
        if seconds > 0:
            self._stopping.wait(seconds)


class Pace:
    """Spreads bytes over time: `rate` bytes a second, 0 for as fast as they come."""

    def __init__(self, rate: float, pause: Callable[[float], None]) -> None:
        self._rate = rate
        self._pause = pause
        self._due = time.monotonic()

    @property
    def piece(self) -> int:
        """How many bytes to take at a time, so that they come evenly."""
        return max(1, int(self._rate / 50)) if self._rate else 256 * 1024

    def passed(self, count: int) -> None:
        """Wait until that many more bytes are due."""
        if self._rate:
            self._due = max(self._due, time.monotonic() - 0.1) + count / self._rate
            self._pause(self._due - time.monotonic())
