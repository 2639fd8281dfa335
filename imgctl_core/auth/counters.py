"""How the fetching of keys goes, in numbers: the one place that counts it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyFetches:
    """A snapshot. `age` is in seconds since the last success, None before the first."""

    fetches: int
    failures: int
    failures_in_a_row: int
    last_error: str
    age: float | None
    keys: int
    skipped: tuple[str, ...]


class KeyFetchCounters:
    """Counts fetches. Not locked: its owner holds a lock already."""

    def __init__(self) -> None:
        self._fetches = 0
        self._failures = 0
        self._in_a_row = 0
        self._last_error = ""
        self._succeeded_at: float | None = None
        self._keys = 0
        self._skipped: tuple[str, ...] = ()

    @property
    def failing(self) -> bool:
        """Return whether the last fetch failed."""
        return self._in_a_row > 0

    def succeeded(self, at: float, keys: int, skipped: tuple[str, ...]) -> None:
        self._fetches += 1
        self._in_a_row = 0
        self._succeeded_at = at
        self._keys = keys
        self._skipped = skipped

    def failed(self, error: str) -> None:
        self._fetches += 1
        self._failures += 1
        self._in_a_row += 1
        self._last_error = error

    def snapshot(self, now: float) -> KeyFetches:
        age = None if self._succeeded_at is None else now - self._succeeded_at
        return KeyFetches(
            self._fetches,
            self._failures,
            self._in_a_row,
            self._last_error,
            age,
            self._keys,
            self._skipped,
        )
