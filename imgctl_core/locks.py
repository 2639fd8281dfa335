"""One writer per artifact and destination."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager

from imgctl_core.context import CancelToken
from imgctl_core.errors import Cancelled, DeadlineExceeded


class LockTable:
    """Locks by key, taken several at once. Waiting can be cancelled."""

    def __init__(self) -> None:
        self._held: set[Hashable] = set()
        self._changed = threading.Condition()

    @contextmanager
    def hold(
        self, keys: Iterable[Hashable], cancel: CancelToken, deadline: float | None = None
    ) -> Iterator[bool]:
        """Hold all of `keys`; the value says whether somebody else held one before.

        `deadline` is a `time.monotonic()` value, None for no limit.

        All are taken in one step or none is, so that two promotions that share keys
        can't wait for each other.

        Raises:
            Cancelled, DeadlineExceeded: while waiting.
        """
        wanted = frozenset(keys)
        forget = cancel.on_cancel(self._wake)
        try:
            with self._changed:
                waited = not wanted.isdisjoint(self._held)
                free = self._changed.wait_for(
                    lambda: cancel.cancelled or wanted.isdisjoint(self._held),
                    None if deadline is None else max(0.0, deadline - time.monotonic()),
                )
                if cancel.cancelled:
                    raise Cancelled("the promotion was cancelled while it waited for another one")
                if not free:
                    raise DeadlineExceeded(
                        "the promotion ran out of time while it waited for another one",
                        fix="see what becomes of that one, then ask for the same again",
                    )
                self._held |= wanted
        finally:
            forget()
        try:
            yield waited
        finally:
            with self._changed:
                self._held -= wanted
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
