"""Find plugins by their metadata alone. Nothing is imported here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions

from imgctl_core.hookspecs import ENTRY_POINT_GROUP


@dataclass(frozen=True)
class FoundPlugin:
    """An entry point of our group, and the distribution that brought it."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def __str__(self) -> str:
        return f"{self.name} of {self.distribution} {self.version}"


def find_plugins(installed: Iterable[Distribution] | None = None) -> tuple[FoundPlugin, ...]:
    """Return every installed plugin, sorted by name and distribution.

    A distribution that stands on `sys.path` twice counts once, as Python itself would
    import it: the first one wins.
    """
    found: list[FoundPlugin] = []
    seen: set[str] = set()
    for distribution in distributions() if installed is None else installed:
        name = distribution.metadata["Name"] or ""
        key = re.sub(r"[-_.]+", "-", name).lower()
        if not key or key in seen:
            continue
        seen.add(key)
        found.extend(
            FoundPlugin(point.name, name, distribution.version, point)
            for point in distribution.entry_points
            if point.group == ENTRY_POINT_GROUP
        )
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.distribution)))
