"""The two ends of one promotion, opened, and what is done between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imgctl_backends.spa.bucket import Bucket
from imgctl_backends.spa.compare import Comparer, Comparison
from imgctl_backends.spa.copy import Copier, Copy
from imgctl_backends.spa.listing import list_version
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import is_entry_point
from imgctl_backends.spa.pace import Patience
from imgctl_core import Context
from imgctl_core.errors import Conflict, VerificationFailed

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a phase of one promotion works with. `replace` allows overwriting."""

    source: Bucket
    destination: Bucket
    copier: Copier
    patience: Patience
    replace: bool
    context: Context

    def look(self, files: Sequence[File], written: dict[str, str] | None = None) -> Comparison:
        """List the destination anew and compare."""
        listing = list_version(self.destination, self.context, self.patience)
        comparer = Comparer(self.source, self.destination, self.context, self.patience)
        return comparer.compare(files, listing.files, written)

    def copies(self, seen: Comparison) -> list[Copy]:
        """Return what has to be copied.

        Raises:
            Conflict: something else is there, and may not be replaced.
        """
        if seen.different and not self.replace:
            raise conflict(self.destination, [file.key for file, _ in seen.different])
        if seen.different:
            self.context.log.warning(
                "%d files of %s are replaced while they may be in use",
                len(seen.different),
                self.destination.place.url,
            )
        missing = [Copy(file) for file in seen.missing]
        return missing + [Copy(file, over=tag) for file, tag in seen.different]

    def bring(self, copies: Sequence[Copy]) -> dict[str, str]:
        """Copy; return the entity tags that the destination gave, "" where it refused."""
        written = {}
        for copied in self.copier.copy(copies, self.context):
            written[copied.file.key] = copied.etag
            self.context.progress.say(f"{len(written)} of {len(copies)} files copied")
        return written

    def prove(self, files: Sequence[File], written: dict[str, str] | None = None) -> None:
        """List the destination anew: every file must be there, and be the source's.

        Raises:
            Conflict: somebody else's file was there first.
            VerificationFailed: it is not so for any other reason.
        """
        tags = {key: etag for key, etag in (written or {}).items() if etag}
        seen = self.look(files, tags)
        refused = [f.key for f, _ in seen.different if (written or {}).get(f.key) == ""]
        if refused:
            raise conflict(self.destination, refused)
        if seen.missing or seen.different:
            raise not_verified(
                self.destination,
                [file.key for file in seen.missing],
                [file.key for file, _ in seen.different],
            )


def conflict(destination: Bucket, keys: Sequence[str]) -> Conflict:
    place = destination.place
    return Conflict(
        f"{place.url} (environment {place.environment}) holds {count(len(keys))} "
        f"with another content than the source: {names(keys)}",
        fix="publish the build under a new version; where the environment allows it, "
        "--on-conflict replace overwrites these files",
    )


def not_verified(
    destination: Bucket, missing: Sequence[str], different: Sequence[str]
) -> VerificationFailed:
    found = []
    if missing:
        found.append(f"{count(len(missing))} missing: {names(missing)}")
    if different:
        found.append(f"{count(len(different))} with another content: {names(different)}")
    return VerificationFailed(
        f"{destination.place.url} is not what was promoted, {'; '.join(found)}",
        fix="see who else writes to that bucket, then run the same command again",
    )


def count(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"


def names(keys: Sequence[str]) -> str:
    """Return a few names and how many more there are; entry points first."""
    ordered = sorted(keys, key=lambda key: (not is_entry_point(key), key))
    shown = ", ".join(repr(key[:200]) for key in ordered[:_SHOWN])
    left = len(ordered) - _SHOWN
    return f"{shown} and {left:,} more" if left > 0 else shown
