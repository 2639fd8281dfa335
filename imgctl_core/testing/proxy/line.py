"""How bad a line is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down"]


@dataclass(frozen=True)
class Line:
    """What happens to connections that are made from now on.

    latency
        Seconds that every byte takes, one way.
    rate
        Bytes a second that one connection gets in each direction, 0 for all there is.
    cut_after
        The connection is reset once this many bytes went in `direction`.
    stall_after
        Nothing more goes in `direction` once this many bytes went, and nobody is told.
    direction
        "down" is towards the client, "up" towards the server.
    refuse
        New connections are reset at once.
    """

    latency: float = 0.0
    rate: float = 0.0
    cut_after: int | None = None
    stall_after: int | None = None
    direction: Direction = "down"
    refuse: bool = False

    def room(self, direction: Direction, passed: int) -> int | None:
        """Return how many more bytes may go before a fault strikes, None for all."""
        limits = [limit for limit in (self.cut_after, self.stall_after) if limit is not None]
        if direction != self.direction or not limits:
            return None
        return max(0, min(limits) - passed)

    @property
    def cuts(self) -> bool:
        """Whether the fault that strikes first is the cut."""
        if self.cut_after is None:
            return False
        return self.stall_after is None or self.cut_after <= self.stall_after
