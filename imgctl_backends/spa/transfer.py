"""The two ends of one promotion, opened, and what is done between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from imgctl_backends.spa.copying.copy import Copied, Copier, Copy
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.compare import Comparer, Comparison
from imgctl_backends.spa.reading.heads import heads
from imgctl_backends.spa.reading.listing import list_version
from imgctl_backends.spa.trail import Trail
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.faults import taken_by_another
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context
from imgctl_core.errors import Conflict, EndpointDenied, VerificationFailed

_SHOWN: Final = 5
#: Up to so many files are asked for one by one, which is then cheaper than a list.
_FEW: Final = 200


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a phase of one promotion works with. `replace` allows overwriting.

    `copiers` are tried in turn with the first copy: the later ones need less.
    """

    source: Bucket
    destination: Bucket
    copiers: Sequence[Copier]
    order: Order
    patience: Patience
    replace: bool
    trail: Trail
    context: Context

    def look(self, files: Sequence[File]) -> Comparison:
        """List the destination anew and compare."""
        there = list_version(self.destination, self.context, self.patience, files).files
        return self._compare(files, there)

    def look_at(self, files: Sequence[File]) -> Comparison:
        """Look at these files alone at the destination, and compare."""
        if len(files) > _FEW:
            return self.look(files)
        wanted = dict.fromkeys((file.key for file in files), "")
        found = heads(self.destination, wanted, self.context, self.patience)
        there = [File(key, head.size, head.etag) for key, head in found.items() if head]
        return self._compare(files, there)

    def copies(self, seen: Comparison) -> list[Copy]:
        """Return what has to be copied.

        Raises:
            Conflict: something else is there, and may not be replaced.
        """
        if seen.different and not self.replace:
            raise conflict(self.destination, [file.key for file, _ in seen.different], self.order)
        if seen.different:
            self.context.progress.note(
                f"{count(len(seen.different))} in {self.destination.place.url} were replaced "
                "while they may have been in use"
            )
        missing = [Copy(file) for file in seen.missing]
        return missing + [Copy(file, over=tag) for file, tag in seen.different]

    def bring(self, copies: Sequence[Copy]) -> None:
        """Copy, wave by wave: none begins before the one below it is there.

        Raises:
            Conflict: somebody else's file was there first.
            ImgctlError: some copies failed; those of later waves were not tried.
        """
        by_key = {copy.file.key: copy for copy in copies}
        done = 0
        for keys in self.order.waves(by_key):
            self.context.check()
            refused = []
            for copied in self._carried([by_key[key] for key in keys]):
                done += 1
                self.trail.written[copied.file.key] = copied
                self.context.progress.say(f"{done} of {len(copies)} files copied")
                if copied.made is None:
                    refused.append(copied.file)
            if refused:
                self.prove(refused)

    def prove(self, files: Sequence[File]) -> Comparison:
        """List the destination anew: every file must be there, and be the source's.

        Raises:
            Conflict: somebody else's file was there first.
            VerificationFailed: it is not so for any other reason.
        """
        seen = self.look(files)
        foreign = [file.key for file, _ in seen.different if self._refused(file)]
        if self.replace:
            foreign += [file.key for file in seen.missing if self._refused(file)]
        if foreign and self.replace:
            raise taken_by_another(self.destination.place, foreign[0])
        if foreign:
            raise conflict(self.destination, foreign, self.order)
        if seen.missing or seen.different:
            raise not_verified(
                self.destination,
                [file.key for file in seen.missing],
                [file.key for file, _ in seen.different],
                self.order,
            )
        return seen

    def _carried(self, copies: Sequence[Copy]) -> Iterator[Copied]:
        copier = self.trail.copier
        if copier is None:
            # One copy before all the others: what is not allowed shows, and is said, once.
            first = min(copies, key=lambda copy: copy.file.size)
            copier, copied = self._try(first)
            self.trail.copier = copier
            yield copied
            copies = [copy for copy in copies if copy is not first]
        yield from copier.copy(copies, self.context)

    def _try(self, copy: Copy) -> tuple[Copier, Copied]:
        *others, last = self.copiers
        for copier in others:
            try:
                (copied,) = copier.copy([copy], self.context)
            except EndpointDenied as denied:
                self.context.log.info("files go through this machine, since %s", denied.message)
                continue
            return copier, copied
        (copied,) = last.copy([copy], self.context)
        return last, copied

    def _compare(self, files: Sequence[File], there: Sequence[File]) -> Comparison:
        made = {key: copied.made.etag for key, copied in self.trail.written.items() if copied.made}
        comparer = Comparer(self.source, self.destination, self.context, self.patience)
        return comparer.compare(files, there, made)

    def _refused(self, file: File) -> bool:
        copied = self.trail.written.get(file.key)
        return copied is not None and copied.made is None


def conflict(destination: Bucket, keys: Sequence[str], order: Order) -> Conflict:
    place = destination.place
    return Conflict(
        f"{place.url} (environment {place.environment}) holds {count(len(keys))} "
        f"with another content than the source: {names(keys, order)}",
        fix="publish the build under a new version; where the environment allows it, "
        "--on-conflict replace overwrites these files",
    )


def not_verified(
    destination: Bucket, missing: Sequence[str], different: Sequence[str], order: Order
) -> VerificationFailed:
    found = []
    if missing:
        found.append(f"{count(len(missing))} missing: {names(missing, order)}")
    if different:
        found.append(f"{count(len(different))} with another content: {names(different, order)}")
    return VerificationFailed(
        f"{destination.place.url} is not what was promoted, {'; '.join(found)}",
        fix="see who else writes to that bucket, then run the same command again",
    )


def count(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"


def names(keys: Sequence[str], order: Order) -> str:
    """Return a few names and how many more there are; entry points first."""
    ordered = sorted(keys, key=lambda key: (-order.wave(key), key))
    shown = ", ".join(repr(key[:200]) for key in ordered[:_SHOWN])
    left = len(ordered) - _SHOWN
    return f"{shown} and {left:,} more" if left > 0 else shown
