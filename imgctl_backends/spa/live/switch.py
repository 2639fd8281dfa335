"""Makes a version of one build live in one environment: plan, switch, caches, proof."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from imgctl_backends.spa.live.caches import Caches, Started
from imgctl_backends.spa.live.held import Held, check_whole, hold
from imgctl_backends.spa.live.mode import Mode
from imgctl_backends.spa.live.paths import invalidation_paths
from imgctl_backends.spa.live.record import Record, Version, from_row, to_row
from imgctl_backends.spa.live.store import Seen, overtaken
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context, Plan, PromotionItem, Step
from imgctl_core.errors import ArtifactNotFound, Conflict, InternalError, VerificationFailed
from imgctl_core.models import JSON


class Switch:
    """Works on one build in one environment. `wait_seconds` is the most to wait for caches."""

    def __init__(
        self,
        bucket: Bucket,
        mode: Mode,
        caches: Caches | None,
        wait_seconds: float,
        order: Order,
        patience: Patience,
    ) -> None:
        self._bucket = bucket
        self._mode = mode
        self._caches = caches
        self._wait_seconds = wait_seconds
        self._order = order
        self._patience = patience

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        record = self._mode.store.read(context).record
        name = item.ref.version or self._before(item, record)
        held = check_whole(self._hold(name, context), self._bucket, name, self._order)
        move = self._mode.plan(held, record, context)
        if record.pending:
            context.progress.note(
                f"an activation of {record.pending.name} in {item.destination} began and did not "
                "end: it broke off, or another server is at it"
            )
        live = _is_live(record, held.version)
        forget = live and move.whole and item.wait and self._caches is not None
        switch = not (live and move.whole)
        paths = invalidation_paths(move.touched) if self._caches and (switch or forget) else []
        return Plan(
            item=replace(item, ref=replace(item.ref, version=name)),
            digest=held.version.digest,
            current=self._current(record, held, move.whole, context),
            complete=not switch and not forget,
            bytes_to_copy=move.bytes if switch else 0,
            steps=(
                *(move.steps if switch else ()),
                *(Step("invalidate", path) for path in paths),
            ),
            data={
                **(move.data if switch else {}),
                "switch": switch,
                "record": to_row(record),
                "paths": list[JSON](paths),
            },
        )

    def activate(self, plan: Plan, context: Context) -> None:
        target, planned, switch = _target(plan), _record(plan), bool(plan.data.get("switch"))
        context.progress.total(plan.bytes_to_copy)
        seen = self._mode.store.read(context)
        expected = seen.record.agrees(planned) or target.same(seen.record.pending)
        if switch and expected:
            started = self._switch(plan, target, seen, context)
        elif _is_live(seen.record, target):
            started = self._forget(plan, context)
        else:
            raise Conflict(
                overtaken(self._mode.store.where, plan.item.destination).message,
                fix="look what is live now, then run the same command again",
                digest=plan.digest,
                current=seen.record.live.digest if seen.record.live else "",
            )
        self._wait(plan, started, context)

    def verify(self, plan: Plan, context: Context) -> str:
        record = self._mode.store.read(context).record
        if record.live is None:
            return ""
        held = self._hold(record.live.name, context)
        if held is None:
            return ""
        if not _is_live(record, held.version) or held.version.name != plan.item.ref.version:
            raise VerificationFailed(
                f"{self._mode.store.where} does not say that {plan.item.ref} is live: somebody "
                "else made something live meanwhile",
                fix="look what is live now, then run the same command again",
            )
        self._mode.check(held, context)
        return held.version.digest

    def _switch(self, plan: Plan, target: Version, seen: Seen, context: Context) -> Started | None:
        try:
            seen = self._mode.bring(plan, target, seen, context)
        except ValueError as error:
            raise _unreadable(plan, error) from error
        if self._mode.record_shows:
            self._end(target, seen, context)
            return self._forget(plan, context)
        # A crash before the record's end makes the same command do all of it again.
        started = self._forget(plan, context)
        self._end(target, seen, context)
        return started

    def _end(self, target: Version, seen: Seen, context: Context) -> None:
        store = self._mode.store
        try:
            store.write(seen.record.done(target), seen, context)
        except Conflict:
            # Another server that did the same may have been first.
            if not _is_live(store.read(context).record, target):
                raise

    def _forget(self, plan: Plan, context: Context) -> Started | None:
        paths = plan.data.get("paths")
        if self._caches is None or not isinstance(paths, list) or not paths:
            return None
        reference = f"imgctl-{context.promotion_id or uuid4().hex}"
        return self._caches.start([str(path) for path in paths], reference, context)

    def _wait(self, plan: Plan, started: Started | None, context: Context) -> None:
        if started is not None and self._caches is not None:
            within = self._wait_seconds if plan.item.wait else None
            self._caches.finish(started, str(plan.item.ref), within, context)
        elif plan.item.wait:
            context.progress.note(
                "nothing was waited for: the settings name no distribution whose caches would "
                "have to forget"
            )

    def _before(self, item: PromotionItem, record: Record) -> str:
        if record.back is None:
            live = f" before {record.live.name}" if record.live else ""
            raise ArtifactNotFound(
                f"no version of {item.ref.kind}:{item.ref.name} was live in "
                f"{item.destination}{live}, says {self._mode.store.where}",
                fix=f"name the version: {item.ref.kind}:{item.ref.name}:<version>",
            )
        return record.back.name

    def _current(self, record: Record, held: Held, whole: bool, context: Context) -> str | None:
        if whole and held.version.same(record.pending):
            return held.version.digest  # all of it is there, and only the record's end is not
        if record.live is None:
            return None
        if record.live.digest:
            return record.live.digest
        if record.live.name == held.version.name:
            return held.version.digest
        now = self._hold(record.live.name, context)
        return now.version.digest if now else None

    def _hold(self, name: str, context: Context) -> Held | None:
        return hold(self._bucket, name, context, self._patience)


def _is_live(record: Record, version: Version) -> bool:
    return record.pending is None and version.same(record.live)


def _target(plan: Plan) -> Version:
    return Version(plan.item.ref.version or "", plan.digest)


def _record(plan: Plan) -> Record:
    try:
        return from_row(plan.data.get("record"))
    except ValueError as error:
        raise _unreadable(plan, error) from error


def _unreadable(plan: Plan, error: ValueError) -> InternalError:
    return InternalError(f"the plan of {plan.item.text} can't be read: {error}")
