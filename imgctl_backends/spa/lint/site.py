"""Says which files of the same site a page names that its version does not have.

Nobody knows how a version will be served: as a site's root, below `/<version>/`, or,
built for it, below a path such as `/shop/`. What is there in any one reading is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from imgctl_backends.spa.reading.pages import Document, resolve

#: Folders of a path below which a build is looked for.
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class Site:
    """A version's files, by key relative to it, and its prefix, which ends in `/`."""

    files: Collection[str]
    prefix: str

    def missing(self, document: Document, key: str) -> tuple[str, ...]:
        """Return the paths that a page or web manifest names and that lead to no file."""
        fixed, moving, at_root = list[str](), list[str](), 0
        for url in document.urls:
            as_root = resolve(url, f"/{key}", document.base)
            below = resolve(url, f"/{self.prefix}{key}", document.base)
            if as_root is None or below is None:
                continue
            if not self._has(as_root):
                (fixed if as_root == below else moving).append(as_root)
            elif as_root == below:
                at_root += 1
        return tuple(dict.fromkeys([*self._below_a_path(fixed, at_root), *moving]))

    def _has(self, path: str) -> bool:
        key = path.removeprefix("/")
        if key.endswith("/") or not key:
            key += "index.html"
        return key in self.files or (
            key.startswith(self.prefix) and key.removeprefix(self.prefix) in self.files
        )

    def _below_a_path(self, paths: Sequence[str], at_root: int) -> Sequence[str]:
        """Return what is still missing below the path that the build was made for.

        That is the one below which more of `paths` are than `at_root`, if there is one.
        """
        hits = Counter(folder for path in paths for folder in self._folders(path))
        folder, count = max(hits.items(), key=itemgetter(1), default=("", 0))
        if count <= at_root:
            return paths
        return [path for path in paths if folder not in self._folders(path)]

    def _folders(self, path: str) -> Iterator[str]:
        """Yield the folders of a path below which the version has its rest."""
        parts = path.split("/", _DEEPEST + 1)
        for depth in range(2, len(parts)):
            if self._has("/" + "/".join(parts[depth:])):
                yield "/".join(parts[:depth])
