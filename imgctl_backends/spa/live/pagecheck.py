"""Checks that pages and web manifests find at the root what they load from their own site."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from imgctl_backends.spa.live.held import Held
from imgctl_backends.spa.live.rootcopy import RootCopy
from imgctl_backends.spa.live.settings import Live
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading.documents import Trouble, fetch
from imgctl_backends.spa.reading.pages import LARGEST, Document, is_page, is_web_manifest, resolve
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context
from imgctl_core.errors import VerificationFailed

_SHOWN: Final = 5
# No file that we copy has such a key, and not every server takes it for a name.
_NO_KEY: Final = re.compile("[\x00-\x1f\x7f-\x9f]|.{1025}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PageCheck:
    """What it takes to check the pages of one version."""

    live: Live
    patience: Patience
    context: Context

    def check(self, held: Held, going: Sequence[File], copy: RootCopy) -> None:
        """Check the pages among the files that are `going` to the root.

        Raises:
            VerificationFailed: one of them would load what is not there.
        """
        wanted: dict[str, str] = {}
        for page, document in self._documents(held.bucket, going):
            for key in self._needs(page, document):
                wanted.setdefault(key, page)
        missing = self._missing(wanted, held, going, copy)
        if missing:
            raise self._refusal(held, wanted, missing)

    def _needs(self, page: str, document: Document) -> Iterator[str]:
        """Yield the keys that a page loads, which stands under its own key at the root."""
        for url in document.urls:
            path = resolve(url, f"/{page}", document.base)
            if path is None or path.endswith("/"):
                continue
            if not any(fnmatchcase(path, pattern) for pattern in self.live.elsewhere):
                yield path[1:]

    def _missing(
        self, wanted: Mapping[str, str], held: Held, going: Sequence[File], copy: RootCopy
    ) -> dict[str, str]:
        """Return the keys that are missing, and why."""
        prefix = held.version.prefix
        own = {file.key: file for file in held.files}
        there = {prefix + key for key in own} | {file.key for file in going}
        open_ = [key for key in wanted if key not in there and not key.startswith(prefix)]
        seen = copy.look([own[key] for key in open_ if key in own])
        there |= {file.key for file in seen.same}
        there |= copy.held(key for key in open_ if key not in own and not _NO_KEY.search(key))
        others = {file.key for file, _ in seen.different}
        return {
            key: ", which is another file" if key in others else ""
            for key in wanted
            if key not in there
        }

    def _refusal(
        self, held: Held, wanted: Mapping[str, str], missing: Mapping[str, str]
    ) -> VerificationFailed:
        place, version = held.bucket.place, held.version
        said = [f"{wanted[key]!r} loads '/{key[:200]}'{why}" for key, why in missing.items()]
        more = f" and {len(said) - _SHOWN:,} more" if len(said) > _SHOWN else ""
        fix = "publish the build with all its files, under a new version"
        in_build = {file.key for file in held.files}
        if self.live.files == "entry-points" and not in_build.isdisjoint(missing):
            fix = (
                f"publish the build with the base /{version.name}/, or set "
                f'copy = "all" in [environments.{place.environment}.spa.live]'
            )
        return VerificationFailed(
            f"{place.url} can't go live, since its pages would not find at the bucket's root "
            f"what they load: {'; '.join(said[:_SHOWN])}{more}",
            fix=f"{fix}; paths that something else than the bucket serves belong into elsewhere",
        )

    def _documents(self, bucket: Bucket, going: Sequence[File]) -> Iterator[tuple[str, Document]]:
        files = [file for file in going if is_page(file.key) or is_web_manifest(file.key)]
        unread = {file.key: Trouble.TOO_LARGE for file in files if file.size > LARGEST}
        small = (file for file in files if file.size <= LARGEST)
        for fetched in fetch(bucket, small, self.context, self.patience):
            if isinstance(fetched.document, Trouble):
                unread[fetched.key] = fetched.document
            else:
                yield fetched.key, fetched.document
        if unread:
            said = [f"{key[:200]!r} {trouble.value}" for key, trouble in unread.items()]
            more = f" and {len(said) - _SHOWN:,} more" if len(said) > _SHOWN else ""
            self.context.progress.note(
                "not all pages could be looked at for what they load: "
                f"{'; '.join(said[:_SHOWN])}{more}"
            )
