"""Which paths CloudFront's caches must forget when files change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

#: More paths than that cost more than they spare: `/*` counts as one.
MOST: Final = 15
EVERYTHING: Final = "/*"

# RFC 1738, which CloudFront goes by (Developer Guide, "What you need to know when
# invalidating files"): these stay as they are, and what need not be encoded must not be.
_PLAIN: Final = "/$-_.+!*'(),:@&="


def invalidation_paths(keys: Iterable[str]) -> list[str]:
    """Return the fewest paths under which caches may hold these keys.

    Folders are asked for by their own path, too, and mean their index.html.
    """
    paths: set[str] = set()
    for key in keys:
        paths.add(encoded(key))
        folder, _, name = key.rpartition("/")
        if name.lower() == "index.html":
            paths.add(encoded(f"{folder}/") if folder else "/")
    return sorted(paths) if len(paths) <= MOST else [EVERYTHING]


def encoded(key: str) -> str:
    """Return a key's path as CloudFront wants it; a `*` of its own is not a pattern."""
    path = quote(f"/{key}", safe=_PLAIN).replace("~", "%7E")
    return path[:-1] + "%2A" if path.endswith("*") else path
