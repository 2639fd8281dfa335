"""What a plugin is handed beside its plan: progress, cancel, deadline and log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from imgctl_core.errors import Cancelled, DeadlineExceeded
from imgctl_core.models import ItemProgress, Phase
from imgctl_core.text import one_line

_LOG = logging.getLogger("imgctl.plugin")


#: A hostile registry must not be able to fill a result.
_MOST_NOTES = 100


class CancelToken:
    """Says that somebody asked for the work to stop. Safe to share between threads."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._why = "the promotion was cancelled"

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    @property
    def why(self) -> str:
        """Why the work is to stop, as a sentence for people."""
        return self._why

    def cancel(self, why: str = "") -> None:
        """Ask for the work to stop, and call what waits for that. The first reason counts."""
        with self._lock:
            if why and not self._event.is_set():
                self._why = why
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake at once when cancelled. Return whether that is so."""
        return self._event.wait(seconds)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once when cancelled, at once if that is already so.

        It runs in the thread that cancels and must neither block nor raise: it is for
        waking a thread that hangs in a read. The function returned takes it back.
        """
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return lambda: self._remove(callback)
        callback()
        return lambda: None

    def _remove(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


class ProgressCounter:
    """Counts the bytes of one item. Every method is cheap and safe from any thread.

    A byte is counted once: `copied` when it went through us (or the service was told to
    copy it), `present` when the destination had it already, `mounted` when the
    destination took it from a neighbour of its own.
    """

    def __init__(self, text: str) -> None:
        self._lock = threading.Lock()
        self._text = text
        self._phase = Phase.PLAN
        self._total = self._copied = self._present = self._mounted = 0
        self._message = ""
        self._notes: dict[str, None] = {}

    def total(self, count: int) -> None:
        """Set how many bytes there are in all."""
        with self._lock:
            self._total = count

    def copied(self, count: int) -> None:
        """Add bytes copied; a negative count takes back what a retry sends again."""
        with self._lock:
            self._copied += count

    def present(self, count: int) -> None:
        with self._lock:
            self._present += count

    def mounted(self, count: int) -> None:
        with self._lock:
            self._mounted += count

    def say(self, message: str) -> None:
        """Set the line that people see beside the numbers."""
        with self._lock:
            self._message = one_line(message)

    def note(self, text: str) -> None:
        """Tell people something with the result that the outcome alone does not show.

        The same text counts once, however often a phase is run; the first hundred count.
        """
        with self._lock:
            if len(self._notes) < _MOST_NOTES:
                self._notes[one_line(text)] = None

    @property
    def notes(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._notes)

    def enter(self, phase: Phase) -> None:
        """For the engine: note which phase the item is in."""
        with self._lock:
            self._phase, self._message = phase, ""

    def snapshot(self) -> ItemProgress:
        with self._lock:
            return ItemProgress(
                self._text,
                self._phase,
                self._total,
                self._copied,
                self._present,
                self._mounted,
                self._message,
            )


@dataclass(frozen=True)
class Context:
    """What a plugin's method is handed. New fields may come; none will go.

    `deadline` is a `time.monotonic()` value, None for no limit. `scratch` is the item's
    own, from `plan` to `manifest` of one promotion: what one step found out may save the
    next one work. It is empty when `plan` begins, and a crash forgets it, so no step may
    need it.
    """

    promotion_id: str = ""
    progress: ProgressCounter = field(default_factory=lambda: ProgressCounter(""))
    cancel: CancelToken = field(default_factory=CancelToken)
    deadline: float | None = None
    log: logging.Logger | logging.LoggerAdapter[logging.Logger] = _LOG
    scratch: dict[str, object] = field(default_factory=dict)

    def remaining(self) -> float | None:
        """Return the seconds left, never negative; None for no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Call this between steps.

        Raises:
            Cancelled: somebody asked for the work to stop.
            DeadlineExceeded: the time is up.
        """
        if self.cancel.cancelled:
            raise Cancelled(self.cancel.why)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise DeadlineExceeded(
                "the promotion ran out of time",
                fix="run the same command again: what is already there is not copied twice",
            )
