"""Which files make a version visible, and in which order files go.

A browser that gets an entry point asks for everything that it names at once, so all
else must be there first. Within the entry points, what others name goes first as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from fnmatch import translate
from typing import Final

from imgctl_backends.spa.manifest import File


class Wave(IntEnum):
    """When a file goes. Nothing of a wave is sent before the one below it is there."""

    HASHED = 0
    OTHER = 1
    #: Web manifests, service workers, JSON and what else is asked for by a fixed name.
    NAMED = 2
    PAGE = 3
    FOLDER_INDEX = 4
    INDEX = 5

    @property
    def visible(self) -> bool:
        """Whether the wave's files are entry points: asked for without being named."""
        return self >= Wave.NAMED


_NAMED: Final = re.compile(
    r"(?:sw|.+-sw|service-?worker.*|ngsw-worker|ngsw|remoteentry(?:[.-].+)?)\.(?:m?js|json)"
    r"|.+\.webmanifest"
    r"|(?:manifest|asset-manifest|version)\.json",
    re.IGNORECASE | re.DOTALL,
)
_PAGES: Final = (".html", ".htm")

# Bundlers put a hash of the content into names: main.3f2a9c1b.js, chunk-ABCDEF12.js,
# index-BX3kd9aZ.js (base64url, which may hold the very characters that set it off).
_HASH: Final = re.compile(
    r"(?:^|[.~_-])"
    r"(?:(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,64}"
    r"|(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,64})"
    r"(?:$|[.~_-])"
)
_EIGHT: Final = re.compile(r".*[.~_-]([A-Za-z0-9_-]{8})(?:\..*)?", re.DOTALL)
_RANDOM: Final = re.compile(r".*[0-9]|.+[A-Z].*[A-Z]")


class Order:
    """Says when each file of a version goes; `extra` are an operator's own entry points.

    Patterns are those of shells, over the key relative to the version: `*` matches `/`
    as well.
    """

    def __init__(self, extra: Sequence[str] = ()) -> None:
        self._extra = re.compile("|".join(map(translate, extra))) if extra else None

    def wave(self, key: str) -> Wave:
        name = key.rpartition("/")[2]
        if name.lower().endswith(_PAGES):
            if name.lower() != "index.html":
                return Wave.PAGE
            return Wave.INDEX if name == key else Wave.FOLDER_INDEX
        if _NAMED.fullmatch(name) or (self._extra is not None and self._extra.match(key)):
            return Wave.NAMED
        return Wave.HASHED if is_hashed(name) else Wave.OTHER

    def is_entry_point(self, key: str) -> bool:
        return self.wave(key).visible

    def split(self, files: Iterable[File]) -> tuple[list[File], list[File]]:
        """Return the files that nobody sees until they are named, and the entry points."""
        hidden: list[File] = []
        entries: list[File] = []
        for file in files:
            (entries if self.wave(file.key).visible else hidden).append(file)
        return hidden, entries

    def waves(self, keys: Iterable[str]) -> list[list[str]]:
        """Return keys wave by wave, without empty ones."""
        waves: dict[Wave, list[str]] = {}
        for key in keys:
            waves.setdefault(self.wave(key), []).append(key)
        return [waves[wave] for wave in sorted(waves)]


def is_hashed(key: str) -> bool:
    """Return whether a file's name has a hash of its content in it, as far as names tell."""
    name = key.rpartition("/")[2]
    if _HASH.search(name):
        return True
    eight = _EIGHT.fullmatch(name)
    return eight is not None and _RANDOM.match(eight[1]) is not None
