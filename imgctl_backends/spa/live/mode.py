"""What the ways of going live have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from imgctl_backends.spa.live.held import Held
from imgctl_backends.spa.live.record import Record, Version
from imgctl_backends.spa.live.store import Seen, Store
from imgctl_core import Context, Plan, Step
from imgctl_core.models import JSON


@dataclass(frozen=True, slots=True)
class Move:
    """What a switch to a version would do.

    `whole` says that people get all of the version, if it is live at all. `touched` are
    the keys, from the bucket's root, that caches would have to forget. `data` is what
    the mode's own steps find in the plan again.
    """

    steps: Sequence[Step]
    touched: Sequence[str] = ()
    whole: bool = True
    bytes: int = 0
    data: Mapping[str, JSON] = field(default_factory=dict)


class Mode(Protocol):
    """One way of going live.

    `record_shows` says that people get a version by the record itself, and not by what
    `bring` does.
    """

    record_shows: bool

    @property
    def store(self) -> Store: ...

    def plan(self, held: Held, record: Record, context: Context) -> Move:
        """Find out what a switch would do. Reads only.

        Raises:
            VerificationFailed: the version would not work there.
            Conflict: it would take the place of something that must stay.
        """
        ...

    def bring(self, plan: Plan, target: Version, seen: Seen, context: Context) -> Seen:
        """Do what has to be done beside the record; return the record as it is then.

        Raises:
            Conflict: there is something that the plan did not see.
        """
        ...

    def check(self, held: Held, context: Context) -> None:
        """Check that people get all of the version that the record names.

        Raises:
            VerificationFailed: they don't.
        """
        ...
