"""What this server saw at destinations lately: hints that save requests, never proof.

A hint that is wrong is found out when the registry refuses the manifest; the copy engine
then forgets it and looks for itself.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Final

from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.places import Place

#: A plan's look at the destination is good for so long. Until then a blob may come from
#: elsewhere; to upload it once more does no harm.
_ABSENT_SECONDS: Final = 60.0

#: Registries collect garbage by the hour or the day, not within minutes.
_PRESENT_SECONDS: Final = 600.0

#: After a refusal a registry is not asked to mount for so long.
_REFUSED_SECONDS: Final = 600.0

_MOST: Final = 50_000

Party = tuple[Hashable, ...]


def party(repository: Place) -> Party:
    """Return what is equal for two repositories when one may mount from the other."""
    registry = repository.registry
    return (*registry.address.place[:2], registry.identity)


class Sightings:
    """Which blobs were seen where. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._absent: OrderedDict[Hashable, float] = OrderedDict()
        self._present: OrderedDict[Hashable, dict[str, float]] = OrderedDict()
        self._mounts: dict[Party, tuple[bool, float]] = {}

    def note_absent(self, repository: Place, blobs: Iterable[Descriptor]) -> None:
        """The registry just said that it lacks these blobs in that repository."""
        now, whose = time.monotonic(), party(repository)
        with self._lock:
            for blob in blobs:
                self._absent[whose, repository.name, blob.digest] = now
                names = self._present.get((whose, blob.digest))
                if names is not None:
                    names.pop(repository.name, None)
            _trim(self._absent)

    def note_present(self, repository: Place, blob: Descriptor) -> None:
        """The registry just said that it has that blob."""
        whose = party(repository)
        key = (whose, blob.digest)
        with self._lock:
            self._absent.pop((whose, repository.name, blob.digest), None)
            self._present.setdefault(key, {})[repository.name] = time.monotonic()
            self._present.move_to_end(key)
            _trim(self._present)

    def forget(self, repository: Place, blob: Descriptor) -> None:
        """Nothing is known about that blob any more."""
        whose = party(repository)
        with self._lock:
            self._absent.pop((whose, repository.name, blob.digest), None)
            self._present.pop((whose, blob.digest), None)

    def absent(self, repository: Place, blob: Descriptor) -> bool:
        """Whether the blob was missing a moment ago."""
        seen = self._absent.get((party(repository), repository.name, blob.digest))
        return seen is not None and time.monotonic() - seen < _ABSENT_SECONDS

    def holders(self, repository: Place, blob: Descriptor) -> tuple[str, ...]:
        """Return the names of the registry's repositories that have the blob, newest first."""
        since = time.monotonic() - _PRESENT_SECONDS
        with self._lock:
            names = self._present.get((party(repository), blob.digest), {})
            found = [(seen, name) for name, seen in names.items() if seen >= since]
        return tuple(name for _, name in sorted(found, reverse=True))

    def note_mount(self, whose: Party, worked: bool) -> None:
        """Remember whether a registry mounts what it has."""
        with self._lock:
            self._mounts[whose] = (worked, time.monotonic())

    def mounts(self, whose: Party) -> bool | None:
        """Whether a registry mounts, None when nobody knows."""
        worked, at = self._mounts.get(whose, (True, 0.0))
        if whose not in self._mounts or (not worked and time.monotonic() - at >= _REFUSED_SECONDS):
            return None
        return worked


def _trim(known: OrderedDict[Hashable, float] | OrderedDict[Hashable, dict[str, float]]) -> None:
    while len(known) > _MOST:
        known.popitem(last=False)
