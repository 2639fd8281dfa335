"""How many copies are in flight, how many begin, and how long to wait before another try."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Final

#: Within 40 ms, a far service's answer, these are 3,200 calls a second: S3 takes them.
_FIRST: Final = 128
_LEAST: Final = 2
#: Seconds: what was sent before a window shrank must not shrink it again.
_REST: Final = 1.0
#: Seconds of calls that may begin at once after a pause.
_BURST: Final = 0.05


@dataclass(frozen=True, slots=True)
class Patience:
    """When to try again and when to give up. Times in seconds.

    `attempts` is how often a call is made in all, `throttled` the same for a service
    that asks us to slow down; a call that has used them up gets half as many again
    when all the others are through. `silence` is how long one answer may take, and a
    second more for each `rate` bytes that S3 has to move. `dead` is how long an
    endpoint may fail to answer at all before it counts as unreachable.
    """

    attempts: int = 6
    throttled: int = 12
    base: float = 0.1
    longest: float = 10.0
    silence: float = 30.0
    rate: float = 8 * 1024 * 1024
    dead: float = 20.0

    def delay(self, attempt: int) -> float:
        """Return how long to wait after the `attempt`-th failure: full jitter.

        Drawn evenly from nothing to a bound that doubles, so that many callers that
        failed together don't come back together.
        """
        return random.uniform(0, min(self.longest, self.base * 2.0 ** min(attempt, 16)))  # noqa: S311

    def limit(self, size: int) -> float:
        """Return how long the answer to one call about `size` bytes may take."""
        return self.silence + size / self.rate


class Pace:
    """How many calls may be in flight below one prefix, and how many may begin a second.

    Additive increase, multiplicative decrease, as TCP does it: grows by one per success
    until the service first asks us to slow down, then by one per whole window of
    successes; halves at most once a second. S3 takes 3,500 writes a second below one
    prefix before it splits it (user guide, "Optimizing Amazon S3 performance").
    Safe to share between threads.
    """

    def __init__(self, most: int, per_second: float) -> None:
        self._lock = threading.Lock()
        self._most = float(most)
        self._window = float(min(_FIRST, most))
        self._careful = False
        self._shrunk_at = float("-inf")
        self._gap = 1 / per_second
        self._due = 0.0

    @property
    def window(self) -> int:
        """How many calls may be in flight now."""
        return int(self._window)

    def succeeded(self) -> None:
        with self._lock:
            step = 1 / self._window if self._careful else 1.0
            self._window = min(self._most, self._window + step)

    def throttled(self, now: float) -> None:
        """Slow down, unless that was done for what was sent before the last time."""
        with self._lock:
            if now - self._shrunk_at < _REST:
                return
            self._shrunk_at = now
            self._careful = True
            self._window = max(min(float(_LEAST), self._most), self._window / 2)

    def begin(self, now: float) -> float:
        """Return 0.0 when a call may begin, which then counts, else how long to wait."""
        with self._lock:
            early = self._due - now - _BURST
            if early > 0:
                return early
            self._due = max(self._due, now) + self._gap
            return 0.0
