"""Questions of different kinds that are asked at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.wire.flight import Flight

T = TypeVar("T")


class Batch:
    """Collects questions; each answer can be had after `ask`."""

    def __init__(self) -> None:
        self._tasks: list[Callable[[], object]] = []
        self._answers: list[object] = []

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def add(self, task: Callable[[], T]) -> Callable[[], T]:
        """Take a question, and return the function that will have its answer."""
        at = len(self._tasks)
        self._tasks.append(task)
        return lambda: cast(T, self._answers[at])

    def ask(self, workers: Workers, flight: Flight) -> None:
        """Ask everything, in parallel; the first error stops the rest."""
        self._answers = workers.ask(flight, self._tasks)
