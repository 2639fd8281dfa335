"""How many copies are in flight, and how long to wait before another try."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

_FIRST: Final = 32
_LEAST: Final = 2
#: Seconds: what was sent before a window shrank must not shrink it again.
_REST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """When to try again and when to give up. Times in seconds.

    `attempts` is how often a call is made in all, `throttled` the same for a service
    that asks us to slow down. `silence` is how long one answer may take, and a second
    more for each `rate` bytes that S3 has to move. `dead` is how long an endpoint may
    fail to answer at all before it counts as unreachable.
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


class Window:
    """Additive increase, multiplicative decrease, as TCP does it.

    Grows by one per success until the service first asks us to slow down, then by one
    per whole window of successes.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._size = float(min(_FIRST, most))
        self._careful = False
        self._shrunk_at = float("-inf")

    @property
    def size(self) -> int:
        return int(self._size)

    def grow(self) -> None:
        step = 1 / self._size if self._careful else 1.0
        self._size = min(self._most, self._size + step)

    def shrink(self, now: float) -> None:
        if now - self._shrunk_at < _REST:
            return
        self._shrunk_at = now
        self._careful = True
        self._size = max(min(float(_LEAST), self._most), self._size / 2)
