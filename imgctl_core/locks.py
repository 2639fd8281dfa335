"""One writer per artifact and destination."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager

from imgctl_core.context import CancelToken
from imgctl_core.errors import Cancelled


class LockTable:
    """Locks by key, taken several at once. Waiting can be cancelled."""

    def __init__(self) -> None:
        self._held: set[Hashable] = set()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, keys: Iterable[Hashable], cancel: CancelToken) -> Iterator[bool]:
        """Hold all of `keys`; the value says whether somebody else held one before.

        All are taken in one step or none is, so that two promotions that share keys
        can't wait for each other.

        Raises:
            Cancelled: while waiting.
        """
        wanted = frozenset(keys)
        forget = cancel.on_cancel(self._wake)
        try:
            with self._changed:
                waited = not wanted.isdisjoint(self._held)
                self._changed.wait_for(lambda: cancel.cancelled or wanted.isdisjoint(self._held))
                if cancel.cancelled:
                    raise Cancelled("the promotion was cancelled while it waited for another one")
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
