"""Tag lists of source repositories: one for each repository and promotion."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final

from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.flight import Flight

_KEPT: Final = 64
_FRESH_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05


class _Entry:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = 0.0
        self.tags: frozenset[str] | None = None


class TagLists:
    """Lists a repository once for all items of a promotion that come from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def read(self, flight: Flight, repository: Place) -> frozenset[str] | None:
        """Return the repository's tags, None when it does not list them.

        Raises:
            ImgctlError: as `Repository.tags`.
        """
        promotion = flight.context.promotion_id
        if not promotion:
            return repository.tags(flight)
        entry = self._entry((promotion, str(repository)))
        while not entry.lock.acquire(timeout=_LOOK_SECONDS):
            flight.check()
        try:
            if time.monotonic() >= entry.until:
                entry.tags = repository.tags(flight)
                entry.until = time.monotonic() + _FRESH_SECONDS
            return entry.tags
        finally:
            entry.lock.release()

    def _entry(self, key: tuple[str, str]) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > _KEPT:
                self._entries.popitem(last=False)
            return entry
