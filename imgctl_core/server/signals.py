"""Waiting to be asked to stop, by SIGTERM or Ctrl-C, or to look again, by SIGHUP."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Catches the first SIGTERM or SIGINT. Use it in a `with`, in the main thread.

    A second signal ends the process at once, as it would without us. At a SIGHUP
    `on_hangup` is called, unless it is a terminal that hung up: then it is one more signal
    to stop.
    """

    def __init__(self, on_hangup: Callable[[], None] = lambda: None) -> None:
        self._on_hangup = on_hangup

    def __enter__(self) -> Self:
        # Python runs handlers in the main thread, and the system may hand the signal to
        # any other: a main thread that waits for a lock then sleeps on. The wake-up
        # descriptor is written to in whichever thread the signal arrives.
        self._reader, self._writer = socket.socketpair()
        self._on_terminal = os.isatty(0)
        self._writer.setblocking(False)
        self._before: dict[signal.Signals, Any] = {
            number: signal.signal(number, self._caught) for number in _SIGNALS
        }
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, _heard)
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def wait(self) -> None:
        """Return when one of the signals has come."""
        caught = 0
        while caught not in _SIGNALS:
            caught = self._reader.recv(1)[0]
            if caught == signal.SIGHUP:
                if self._on_terminal:
                    return
                self._on_hangup()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)


def _heard(number: int, frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor tells of it."""
