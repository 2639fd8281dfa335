"""What the works of every part that copies have at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from tests.bench.results import Check, Row, WorkResult
from tests.bench.world import World

W = TypeVar("W", bound=World)
A = TypeVar("A")


@dataclass(frozen=True)
class Bench(Generic[W]):
    """What every work needs. `scale` makes everything smaller, to try the benchmark out."""

    world: W
    runs: int
    scale: float
    say: Callable[[str], None]

    def rounds(self, make: Callable[[str], Sequence[A]]) -> Iterator[partial[Sequence[A]]]:
        """Yield a maker for each round, with a tag of its own."""
        for number in range(self.runs):
            yield partial(make, f"v{number + 1}-{time.time_ns()}")

    def result(
        self,
        key: str,
        title: str,
        rows: Sequence[Row],
        checks: Sequence[Check],
        load: float,
        *remarks: str,
        timed: bool = True,
    ) -> WorkResult:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        return WorkResult(key, title, tuple(rows), tuple(checks), when, load, remarks, timed)
