"""Which files make a version visible, and in which order they go.

A browser that gets an entry point asks for everything that it names at once, so all
else must be there first. Within the entry points, what others name goes first as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# What a browser or a host application asks for under a fixed name, other than pages.
_NAMED: Final = re.compile(
    r"(?:sw|.+-sw|service-?worker.*|ngsw-worker|ngsw|remoteentry(?:[.-].+)?)\.(?:m?js|json)"
    r"|.+\.webmanifest"
    r"|(?:manifest|asset-manifest|version)\.json",
    re.IGNORECASE | re.DOTALL,
)
_PAGE: Final = re.compile(r".*\.html?", re.IGNORECASE | re.DOTALL)

_NOT_YET: Final = 0


def wave(key: str) -> int:
    """Return when a file goes: 0 with the assets, then 1, 2, … with the entry points.

    1 web manifests, service workers and the like; 2 pages; 3 index pages of folders;
    4 the version's own index.html.
    """
    name = key.rpartition("/")[2]
    if _PAGE.fullmatch(name):
        if name.lower() != "index.html":
            return 2
        return 4 if name == key else 3
    return 1 if _NAMED.fullmatch(name) else _NOT_YET


def is_entry_point(key: str) -> bool:
    return wave(key) != _NOT_YET


def entry_waves(keys: Iterable[str]) -> list[list[str]]:
    """Return the entry points among `keys`, wave by wave; each waits for the one before."""
    waves: dict[int, list[str]] = {}
    for key in keys:
        number = wave(key)
        if number != _NOT_YET:
            waves.setdefault(number, []).append(key)
    return [waves[number] for number in sorted(waves)]
