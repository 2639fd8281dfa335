"""Copies files of a version to the same names at the root of its bucket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from imgctl_backends.spa.copying.copy import Copy, ServerSideCopier
from imgctl_backends.spa.endpoint import SpaSettings
from imgctl_backends.spa.live.store import overtaken
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading.compare import Comparer, Comparison
from imgctl_backends.spa.reading.heads import Head, heads
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.pace import Pace, Patience
from imgctl_core import Context
from imgctl_core.errors import Conflict


class RootCopy:
    """Works between one version and the root. Serves one phase of one activation."""

    def __init__(
        self,
        version: Bucket,
        root: Bucket,
        settings: SpaSettings,
        patience: Patience,
        context: Context,
    ) -> None:
        self._root = root
        self._patience = patience
        self._context = context
        self._comparer = Comparer(version, root, context, patience)
        pace = Pace(settings.concurrency, settings.copies_per_second)
        self._copier = ServerSideCopier(
            version,
            root,
            pace,
            patience,
            tags=settings.copy_tags,
            limit=settings.single_copy_limit,
        )

    def look(self, files: Sequence[File]) -> Comparison:
        """Compare files with what the root has under their names, asking for each alone.

        A list would tell of everything in the bucket.
        """
        found = heads(self._root, {file.key: "" for file in files}, self._context, self._patience)
        return self._compare(files, found)

    def held(self, keys: Iterable[str]) -> set[str]:
        """Return which keys the root has, whatever they are."""
        found = heads(self._root, dict.fromkeys(keys, ""), self._context, self._patience)
        return {key for key, head in found.items() if head}

    def bring(self, files: Sequence[File], planned: Mapping[str, str]) -> None:
        """Copy files over what the plan saw at the root, whose entity tags are `planned`.

        Raises:
            Conflict: something else is there, and it is not what the version has.
        """
        found = heads(self._root, {file.key: "" for file in files}, self._context, self._patience)
        tags = {key: head.etag for key, head in found.items() if head}
        other = [file for file in files if tags.get(file.key) not in (None, planned.get(file.key))]
        if other and not _all_there(self._compare(other, found)):
            raise self._overtaken()
        copies = [Copy(file, over=tags.get(file.key, "")) for file in files]
        refused: Sequence[File] = []
        try:
            made = self._copier.copy(copies, self._context)
            refused = [copied.file for copied in made if copied.made is None]
        except Conflict:
            refused = files
        # The client's own second try may have met what its first one made.
        if refused and not _all_there(self.look(refused)):
            raise self._overtaken()

    def _compare(self, files: Sequence[File], found: Mapping[str, Head | None]) -> Comparison:
        there = [File(key, head.size, head.etag) for key, head in found.items() if head]
        return self._comparer.compare(files, there)

    def _overtaken(self) -> Conflict:
        return overtaken(self._root.place.url, self._root.place.environment)


def _all_there(seen: Comparison) -> bool:
    return not seen.missing and not seen.different
