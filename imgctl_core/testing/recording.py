"""Contexts for tests: they keep what a plugin says, and stop it where a test wants."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from imgctl_core.context import CancelToken, Context, ProgressCounter
from imgctl_core.models import (
    Action,
    Actor,
    Failure,
    ItemProgress,
    ItemResult,
    Outcome,
    Promotion,
    PromotionEvent,
)


class SimulatedCrash(RuntimeError):
    """Stands for the process dying in the middle of a step."""


class _Progress(ProgressCounter):
    def __init__(self, text: str, on_bytes: Callable[[], None]) -> None:
        super().__init__(text)
        self.said: list[str] = []
        self._on_bytes = on_bytes

    def copied(self, count: int) -> None:
        super().copied(count)
        self._on_bytes()

    def say(self, message: str) -> None:
        super().say(message)
        self.said.append(message)


class _Handler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass(frozen=True)
class RecordingContext(Context):
    """A context that keeps what it is told, and can break off.

    `crash_at` raises SimulatedCrash at that call of `check`, counted from 1 and over all
    threads, and at every later one. `on_bytes` is called whenever bytes were copied.
    """

    crash_at: int | None = None
    on_bytes: Callable[[], None] = lambda: None
    checks: list[None] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        logger = logging.Logger("imgctl.recorded", logging.DEBUG)
        logger.addHandler(_Handler())
        object.__setattr__(self, "log", logger)
        object.__setattr__(self, "progress", _Progress("", lambda: self.on_bytes()))

    def check(self) -> None:
        with self._lock:
            self.checks.append(None)
            if self.crash_at is not None and len(self.checks) >= self.crash_at:
                raise SimulatedCrash("the process died here, says the test")
        super().check()

    @property
    def counted(self) -> ItemProgress:
        """The bytes counted so far."""
        return self.progress.snapshot()

    @property
    def lines(self) -> list[str]:
        """Everything said: log lines with their tracebacks, and progress messages."""
        said = self.progress.said if isinstance(self.progress, _Progress) else []
        handlers = self.log.handlers if isinstance(self.log, logging.Logger) else []
        logged = [line for h in handlers if isinstance(h, _Handler) for line in h.lines]
        return [*logged, *said]


def cancelled_context() -> RecordingContext:
    """Return a context that was cancelled before anything began."""
    token = CancelToken()
    token.cancel()
    return RecordingContext(cancel=token)


def sample_event(
    outcome: Outcome = Outcome.PROMOTED,
    *,
    text: str = "team/app:v1.2.3",
    source: str = "dev",
    destination: str = "prod",
) -> PromotionEvent:
    """Return the event of a promotion of one item that took 4.2 seconds.

    That of an activation when that is the outcome; both ends are then the destination.
    """
    action = Action.ACTIVATE if outcome is Outcome.ACTIVATED else Action.PROMOTE
    bad = outcome in (Outcome.FAILED, Outcome.CONFLICT, Outcome.DENIED, Outcome.CANCELLED)
    failure = Failure("PROMOTION_FAILED", "it could not be done", "try again") if bad else None
    started = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    item = ItemResult(
        text,
        "image",
        outcome,
        digest="" if bad else f"sha256:{'ab' * 32}",
        bytes_copied=0 if bad else 12_345_678,
        error=failure,
    )
    return PromotionEvent(
        Promotion(
            id="pr_0123456789",
            source=destination if action is Action.ACTIVATE else source,
            destination=destination,
            actor=Actor("https://dex.example.com", "c3ViamVjdA", "alice", "alice@example.com"),
            items=(item,),
            started_at=started,
            ended_at=started + timedelta(seconds=4.2),
            outcome=outcome,
            action=action,
        )
    )
