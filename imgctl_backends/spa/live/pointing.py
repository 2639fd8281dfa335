"""Going live by the record alone: something on the way to people reads it."""

from __future__ import annotations

from collections.abc import Sequence

from imgctl_backends.spa.live.held import Held
from imgctl_backends.spa.live.mode import Move
from imgctl_backends.spa.live.record import Record, Version
from imgctl_backends.spa.live.store import Seen, Store
from imgctl_core import Context, Plan, Step


class Pointing:
    """A pointer object, or a key at the edge. `touched` are the keys of it in the bucket."""

    record_shows = True

    def __init__(self, store: Store, touched: Sequence[str] = ()) -> None:
        self.store = store
        self._touched = touched

    def plan(self, held: Held, record: Record, context: Context) -> Move:
        step = Step("write", f"{self.store.where}: {held.version.name}")
        return Move([step], self._touched)

    def bring(self, plan: Plan, target: Version, seen: Seen, context: Context) -> Seen:
        context.check()
        return seen

    def check(self, held: Held, context: Context) -> None:
        """Return: who reads the record gets all of the version."""
