"""When keys count, and when new ones are fetched. Pure: times come in, answers go out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Freshness:
    """The rules, all in seconds.

    fresh
        How long keys count without a question: a key that the issuer takes back stops
        counting within this time.
    stale
        How much longer they count while the issuer can't be asked; 0 for not at all.
    cooldown
        Between two fetches while there are keys, however many unknown ones are asked for.
    poll
        Between two fetches while there are none.
    """

    fresh: float = 300.0
    stale: float = 3600.0
    cooldown: float = 30.0
    poll: float = 10.0

    def is_fresh(self, fetched_at: float, now: float) -> bool:
        return now - fetched_at < self.fresh

    def is_usable(self, fetched_at: float, now: float) -> bool:
        return now - fetched_at < self.fresh + self.stale

    def may_fetch(self, attempted_at: float | None, now: float) -> bool:
        """Return whether somebody who asks for a key may cause a fetch."""
        return attempted_at is None or now - attempted_at >= self.cooldown

    def next_fetch(self, fetched_at: float | None, attempted_at: float | None, now: float) -> float:
        """Return when keys are to be fetched without anybody asking.

        A little before they stop being fresh, so that in the normal case no request ever
        waits for the issuer, and a server that nobody uses stays ready.
        """
        if attempted_at is None:
            return now
        if fetched_at is None or not self.is_usable(fetched_at, now):
            return attempted_at + self.poll
        return max(attempted_at + self.cooldown, fetched_at + 0.8 * self.fresh)
