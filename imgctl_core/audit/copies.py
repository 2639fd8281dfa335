"""Copies of the audit log as it grows: each to a place of its own, at that place's pace."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Final, Protocol

from imgctl_core.errors import AuditUnavailable

_LOG = logging.getLogger("imgctl.audit")

#: Records kept for a place that does not take them now. Further ones are lost to that place;
#: the file has them, and the numbers show the gap.
MAX_WAITING: Final = 10_000

#: So many of them only of what promotions depend on: denials, which anybody can cause, must
#: not push an outcome out.
RESERVED: Final = 1_000

#: Seconds between two tries to reach a place that failed.
RETRY_SECONDS: Final = 1.0


class Sink(Protocol):
    """A place that takes lines."""

    def write(self, line: bytes) -> None:
        """Hand over one record's line, newline included.

        Raises:
            Exception: it was not taken, and is to be handed over again. Mostly an OSError.
        """

    def close(self) -> None: ...


class Copy:
    """Passes lines to one sink, in order, from a thread of its own.

    Nobody who writes the log waits for it, except by `settle`.
    """

    def __init__(self, name: str, sink: Sink, *, required: bool = False) -> None:
        """Begin.

        Args:
            name: what it is called in messages.
            sink: where the lines go.
            required: whether nothing may be promoted while it lags behind.
        """
        self.name = name
        self.required = required
        self._sink = sink
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._taken = 0
        self._done = 0
        self._lost = 0
        self._tries = 0
        self._error = ""
        self._hurry = False
        self._closing = False
        # A daemon: a place that hangs must not keep a stopped server alive.
        self._thread = threading.Thread(target=self._run, name=f"audit-{name}", daemon=True)
        self._thread.start()

    def take(self, line: bytes, *, must_have: bool = False) -> None:
        """Take one more line to pass on. Never blocks.

        Args:
            line: one record's, newline included.
            must_have: whether promotions depend on it. A required copy loses none of these:
                while it lags nothing is promoted, so there are never many of them.
        """
        with self._changed:
            room = MAX_WAITING if must_have else MAX_WAITING - RESERVED
            if len(self._waiting) >= room and not (must_have and self.required):
                self._lost += 1
                return
            self._waiting.append(line)
            self._taken += 1
            self._changed.notify_all()

    def settle(self, seconds: float) -> None:
        """Wait until everything taken so far was passed on; at once if it isn't required.

        Raises:
            AuditUnavailable: the place fails, or does not answer in time.
        """
        if not self.required:
            return
        with self._changed:
            taken, tried, self._hurry = self._taken, self._tries, True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._done >= taken or (self._error and self._tries > tried), seconds
            )
            if self._done < taken:
                raise AuditUnavailable(
                    f"the audit log's copy to {self.name} lags behind:"
                    f" {self._error or 'no answer'}",
                    fix="mend what takes it; nothing is promoted without it",
                )

    def close(self, seconds: float = 2.0) -> None:
        """Pass on what waits, for so many seconds at most, and end."""
        with self._changed:
            self._closing = self._hurry = True
            self._changed.notify_all()
        self._thread.join(seconds)
        with self._changed:
            if self._waiting:
                _LOG.error("%d records were not copied to %s", len(self._waiting), self.name)
                self._waiting.clear()

    def _run(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._sink.write(line)
            except Exception as error:  # noqa: BLE001 # whatever it is, the thread must go on
                self._failed(error)
            else:
                self._passed()
        self._sink.close()

    def _next(self) -> bytes | None:
        """Return the next line, None when there will be none."""
        with self._changed:
            if self._error and not self._closing:
                self._changed.wait_for(lambda: self._hurry, RETRY_SECONDS)
            self._hurry = False
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting or (self._closing and self._error):
                return None
            return self._waiting[0]

    def _failed(self, error: Exception) -> None:
        with self._changed:
            if not self._error:
                _LOG.error("the audit log is not copied to %s: %s", self.name, error)
            self._tries += 1
            why = error.strerror if isinstance(error, OSError) else ""
            self._error = why or str(error) or type(error).__name__
            self._changed.notify_all()

    def _passed(self) -> None:
        with self._changed:
            # None is left when `close` gave up meanwhile.
            if self._waiting:
                self._waiting.popleft()
                self._done += 1
            if self._error or self._lost:
                _LOG.warning("the audit log is copied to %s again: %d lost", self.name, self._lost)
            self._error, self._lost = "", 0
            self._tries += 1
            self._changed.notify_all()
