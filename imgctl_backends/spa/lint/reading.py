"""Looks at files of the source: one call for each, through the fast lane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from imgctl_backends.spa.lint.choice import Choice
from imgctl_backends.spa.lint.findings import Finding, Rule, about
from imgctl_backends.spa.lint.rules import by_headers, too_large
from imgctl_backends.spa.lint.site import Site
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.documents import Fetched, Trouble, fetch
from imgctl_backends.spa.reading.heads import heads
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.faults import changed
from imgctl_backends.spa.wire.pace import Patience
from imgctl_backends.spa.wire.waiting import both
from imgctl_core import Context

#: Files whose headers are in memory at once.
_BATCH: Final = 5000
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns what files of the source are and are served with into findings."""

    source: Bucket
    site: Site
    order: Order
    context: Context
    patience: Patience

    def look(self, choice: Choice) -> list[Finding]:
        """Look at everything that was chosen.

        Raises:
            EndpointFailed: a file is not the one that was listed any more.
            ImgctlError: the source can't be read.
        """
        asked, read = both(
            self.context,
            lambda: list(self._ask(choice.ask)),
            lambda: list(self._read(choice.read)),
            "lint",
        )
        return asked + read

    def _ask(self, files: Sequence[File]) -> Iterator[Finding]:
        for start in range(0, len(files), _BATCH):
            wanted = {file.key: file.etag for file in files[start : start + _BATCH]}
            for key, head in heads(self.source, wanted, self.context, self.patience).items():
                if head is None:
                    raise changed(self.source.place, key)
                yield from by_headers(key, head.headers, self.order)

    def _read(self, files: Sequence[File]) -> Iterator[Finding]:
        for fetched in fetch(self.source, files, self.context, self.patience):
            yield from by_headers(fetched.key, fetched.headers, self.order)
            yield from self._names(fetched)

    def _names(self, fetched: Fetched) -> Iterator[Finding]:
        key, document = fetched.key, fetched.document
        if document is Trouble.TOO_LARGE:
            yield too_large(key)
        elif isinstance(document, Trouble):
            if document is not Trouble.UNKNOWN_ENCODING:
                yield about(Rule.CONTENT_ENCODING, key, document.value)
        elif missing := self.site.missing(document, key):
            yield about(Rule.MISSING_REFERENCE, key, _named(missing))


def _named(paths: Sequence[str]) -> str:
    names = ", ".join(repr(path[:200]) for path in paths[:_SHOWN])
    left = len(paths) - _SHOWN
    more = f" and {left:,} more" if left > 0 else ""
    return f"names {names}{more}, which the version does not have"
