"""Going live by copies of a version's entry points at the bucket's root.

The record says that an activation began before anything is copied, and that it ended
after all is. The version's own index.html goes last, so that people have the version
before until all of the new one is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from imgctl_backends.spa.endpoint import SpaSettings
from imgctl_backends.spa.live.held import Held, at_root, at_version, hold
from imgctl_backends.spa.live.mode import Move
from imgctl_backends.spa.live.objects import ObjectStore
from imgctl_backends.spa.live.pagecheck import PageCheck
from imgctl_backends.spa.live.record import Record, Version
from imgctl_backends.spa.live.rootcopy import RootCopy
from imgctl_backends.spa.live.settings import Live
from imgctl_backends.spa.live.store import Seen, overtaken
from imgctl_backends.spa.manifest import File, from_rows, to_rows
from imgctl_backends.spa.order import Order, is_hashed
from imgctl_backends.spa.reading.compare import Comparison
from imgctl_backends.spa.transfer import count, names
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context, Plan, Step
from imgctl_core.errors import Conflict, VerificationFailed
from imgctl_core.models import JSON

#: More files than anybody reads: those that pages name become one line of the plan.
_MOST_STEPS: Final = 1000


class Root:
    """The root of a bucket, which may be given at any place of it."""

    record_shows = False

    def __init__(
        self,
        bucket: Bucket,
        live: Live,
        settings: SpaSettings,
        order: Order,
        patience: Patience,
    ) -> None:
        self._root = at_root(bucket)
        self._live = live
        self._settings = settings
        self._order = order
        self._patience = patience
        self.store = ObjectStore(self._root, live.key, patience)

    def plan(self, held: Held, record: Record, context: Context) -> Move:
        files = self._going(held)
        self._check_places(held, files, record)
        copy = self._copy(held.bucket, context)
        seen = copy.look(files)
        whole = not seen.missing and not seen.different
        if whole and record.pending is None and held.version.same(record.live):
            return Move([], [file.key for file in files if self._order.is_entry_point(file.key)])
        self._check_hashed(seen)
        PageCheck(self._live, self._patience, context).check(held, files, copy)
        self._note_what_stays(files, record, context)
        tags = {file.key: tag for file, tag in seen.different}
        # Entry points go whatever is there: the same page may have other headers.
        touched = [file.key for file in files if self._is_touched(file.key, tags)]
        same = {file.key: file.seen for file in seen.same}
        moved = [file for file in files if file.key not in same or file.key in touched]
        return Move(
            [*self._steps(moved, {**tags, **same}), Step("write", self._live.key)],
            touched,
            whole,
            sum(file.size for file in moved),
            {"files": to_rows(moved), "root": dict[str, JSON]({**tags, **same})},
        )

    def bring(self, plan: Plan, target: Version, seen: Seen, context: Context) -> Seen:
        files = {file.key: file for file in from_rows(plan.data)}
        tags = _tags(plan.data)
        copy = self._copy(at_version(self._root, target.name), context)
        context.check()
        if not target.same(seen.record.pending):
            seen = self.store.write(seen.record.begun(target), seen, context)
        for number, keys in enumerate(self._order.waves(files)):
            context.check()
            if number and self.store.read(context) != seen:
                raise overtaken(self.store.where, self._root.place.environment)
            copy.bring([files[key] for key in keys], tags)
        return seen

    def check(self, held: Held, context: Context) -> None:
        seen = self._copy(held.bucket, context).look(self._going(held))
        wrong = [file.key for file in (*seen.missing, *(file for file, _ in seen.different))]
        if wrong:
            raise VerificationFailed(
                f"{self._root.place.url} does not have {count(len(wrong))} of "
                f"{held.version.name} as they should be: {names(wrong, self._order)}",
                fix="see who else writes to that bucket, then run the same command again",
            )

    def _going(self, held: Held) -> Sequence[File]:
        if self._live.files == "all":
            return held.files
        return self._order.split(held.files)[1]

    def _copy(self, version: Bucket, context: Context) -> RootCopy:
        return RootCopy(version, self._root, self._settings, self._patience, context)

    def _is_touched(self, key: str, tags: Mapping[str, str]) -> bool:
        return key in tags or self._order.is_entry_point(key)

    def _check_places(self, held: Held, files: Sequence[File], record: Record) -> None:
        """Check that no file would take the place of the record, or of a version's file."""
        known = (held.version, record.live, record.previous, record.pending)
        prefixes = tuple(version.prefix for version in known if version)
        taken = [f.key for f in files if f.key == self._live.key or f.key.startswith(prefixes)]
        if taken:
            raise VerificationFailed(
                f"{held.bucket.place.url} can't go live at the bucket's root: it would write over "
                f"what is not its own, {names(taken, self._order)}",
                fix="publish the build without these files",
            )

    def _note_what_stays(self, files: Sequence[File], record: Record, context: Context) -> None:
        """Tell of pages that people can go on asking for: nothing is ever deleted."""
        if record.live is None:
            return
        before = hold(self._root, record.live.name, context, self._patience)
        if before is None:
            return
        new = {file.key for file in files}
        _, entries = self._order.split(before.files)
        stay = [file.key for file in entries if file.key not in new]
        if stay:
            context.progress.note(
                f"the bucket's root keeps {count(len(stay))} of {before.version.name}, whose place "
                f"nothing takes: {names(stay, self._order)}"
            )

    def _check_hashed(self, seen: Comparison) -> None:
        """Check that no file is another one than the one whose hash its name has."""
        other = [
            file.key
            for file, _ in seen.different
            if is_hashed(file.key) and not self._order.is_entry_point(file.key)
        ]
        if other:
            raise Conflict(
                f"{self._root.place.url} has {count(len(other))} with a hash in the name and "
                f"another content: {names(other, self._order)}",
                fix="see who else writes to the bucket's root; a build never changes such a file",
            )

    def _steps(self, files: Sequence[File], tags: Mapping[str, str]) -> list[Step]:
        steps = [Step("replace" if f.key in tags else "copy", f.key, f.size) for f in files]
        if len(steps) > _MOST_STEPS:
            shown = [step for step in steps if self._is_touched(step.subject, tags)]
            named = [step for step in steps if not self._is_touched(step.subject, tags)]
            size = sum(step.bytes for step in named)
            steps = [*shown, Step("copy", count(len(named)), size)]
        return sorted(steps, key=lambda step: (self._order.wave(step.subject), step.subject))


def _tags(data: Mapping[str, JSON]) -> dict[str, str]:
    tags = data.get("root")
    if not isinstance(tags, dict):
        raise ValueError("it does not say what is at the root")
    return {key: str(tag) for key, tag in tags.items()}
