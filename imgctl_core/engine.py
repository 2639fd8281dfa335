"""The one path of a promotion, and of an activation.

    resolve -> authorize -> plan -> lock -> record -> stage -> publish -> verify
            -> record -> notify

Every transport and every future feature goes through here; `runner` does what is done with
the items. Nothing is visible at a destination before `publish`, so a crash at any moment
before it leaves nothing behind, and the same request again finishes the work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from imgctl_core import rows
from imgctl_core.admission import Admission
from imgctl_core.context import CancelToken, ProgressCounter
from imgctl_core.errors import NotAuthorized, PromotionNotFound
from imgctl_core.ids import new_promotion_id
from imgctl_core.journal import Journal
from imgctl_core.models import (
    Action,
    Actor,
    ManifestRow,
    PlanReport,
    Progress,
    Promotion,
    PromotionRequest,
    Request,
)
from imgctl_core.notify import Notifications
from imgctl_core.outcomes import end_with_error, overall, planned, still_open
from imgctl_core.peer import NOWHERE, Peer
from imgctl_core.resolve import Resolved, Resolver
from imgctl_core.runner import Runner
from imgctl_core.store import ItemRun, PromotionRun, PromotionStore

_LOG = logging.getLogger("imgctl.engine")

#: Seconds that promotions get to stop in when they are cancelled because the server stops.
STOP_SECONDS = 3.0
#: Seconds that notifiers get then.
NOTIFY_SECONDS = 2.0

#: Seconds between two looks at a running promotion, and between two signs of life.
_WATCH_TICK, _WATCH_QUIET = 0.1, 10.0


class Authorizer(Protocol):
    """Decides who may promote what, and make it live. Only ever says yes by not raising.

    What it returns are the groups of the actor that it took.
    """

    def authorize(
        self, actor: Actor, *, kind: str, name: str, source: str, destination: str
    ) -> Iterable[str]: ...

    def authorize_activation(
        self, actor: Actor, *, kind: str, name: str, environment: str
    ) -> Iterable[str]: ...

    def may_promote(
        self, actor: Actor, destination: str, *, kind: str | None = None, name: str | None = None
    ) -> bool: ...


class Engine:
    """Runs promotions, each in a thread of its own."""

    def __init__(
        self,
        resolver: Resolver,
        policy: Authorizer,
        journal: Journal,
        notifications: Notifications,
        store: PromotionStore,
        *,
        max_promotions: int,
        promotion_seconds: float = 6 * 3600,
    ) -> None:
        """Put the parts together.

        Args:
            resolver: understands requests.
            policy: decides who may do what.
            journal: writes the audit log.
            notifications: tells notifiers of what ended.
            store: keeps promotions.
            max_promotions: how many run at once.
            promotion_seconds: how long one may take until it is published.
        """
        self._resolver = resolver
        self._policy = policy
        self._journal = journal
        self._notifications = notifications
        self._store = store
        self._runner = Runner(journal)
        self._admission = Admission(store, max_promotions)
        self._seconds = promotion_seconds

    def start(self, request: Request, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        """Start a promotion and return it as it stands. It goes on without the caller.

        The same request id from the same actor, for the same action, is the same promotion:
        whoever asks again gets that one, even when no other may begin.

        Raises:
            RequestError, NotFound, PluginUnavailable: the request can't be understood, or
                its id belongs to another one.
            NotAuthorized: the actor may not do this there.
            AuditUnavailable: what is owed to the audit log can't be written.
            ServerBusy: no slot is free, or the server is stopping.
        """
        run = self._allowed(request, actor, peer)
        earlier = self._admission.begun(request, actor)
        if earlier is not None:
            return earlier.promotion()
        self._journal.settle()
        begun = self._admission.begin(run)
        if begun is run:
            # A daemon: a plugin that ignores cancelling must not keep a stopped server alive.
            thread = threading.Thread(target=self._run, args=(run,), name=run.id, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                self._end(run, error)
        return begun.promotion()

    def plan(
        self, request: Request, actor: Actor, cancel: CancelToken, peer: Peer = NOWHERE
    ) -> PlanReport:
        """Show what a promotion would do. Writes nothing but an audit record.

        Raises:
            RequestError, NotFound, PluginUnavailable: the request can't be understood.
            NotAuthorized: the actor may not do this there.
        """
        return self._planned(request, actor, cancel, peer)[1]

    def export_plan(
        self, request: PromotionRequest, actor: Actor, cancel: CancelToken, peer: Peer = NOWHERE
    ) -> tuple[PlanReport, Iterator[ManifestRow]]:
        """Do the same, and return the rows of the plans' manifests beside it.

        The rows are read as they are asked for, and end with `Cancelled` after a cancel.

        Raises:
            RequestError, NotFound, PluginUnavailable: the request can't be understood.
            NotAuthorized: the actor may not promote this there.
        """
        run, report = self._planned(request, actor, cancel, peer)
        return report, rows.planned(run, cancel)

    def get(self, promotion_id: str, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        """Return a promotion as it stands.

        Raises:
            PromotionNotFound: there is none, or it is not the actor's to see.
        """
        return self._visible(promotion_id, actor, peer).promotion()

    def manifest(
        self, promotion_id: str, actor: Actor, ref: str = "", peer: Peer = NOWHERE
    ) -> Iterator[ManifestRow]:
        """Return what an ended promotion left at its destination; of one item, or of all.

        Raises:
            PromotionNotFound: there is none, or it is not the actor's to see.
            ManifestNotFound: it has not ended, has no such item, or no manifest of it.
        """
        return rows.kept(self._visible(promotion_id, actor, peer), ref)

    def cancel(self, promotion_id: str, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        """Ask a promotion to stop. One that is over stays as it is.

        Raises:
            PromotionNotFound: there is none, or it is not the actor's to stop.
        """
        run = self._visible(promotion_id, actor, peer)
        if not run.ended.is_set():
            self._journal.cancel_requested(run, actor, peer)
            run.cancel.cancel()
        return run.promotion()

    def watch(
        self, promotion_id: str, actor: Actor, gone: threading.Event, peer: Peer = NOWHERE
    ) -> Iterator[Progress | Promotion]:
        """Yield how far a promotion is, at once and then on change, and last its end.

        Ends without the end only when `gone` is set: nobody listens any more.

        Raises:
            PromotionNotFound: there is none, or it is not the actor's to see.
        """
        run = self._visible(promotion_id, actor, peer)
        shown, shown_at = None, 0.0
        while not run.ended.is_set() and not gone.is_set():
            progress, now = run.progress(), time.monotonic()
            if progress != shown or now - shown_at >= _WATCH_QUIET:
                shown, shown_at = progress, now
                yield progress
            run.ended.wait(_WATCH_TICK)
        if run.ended.is_set():
            yield run.promotion()

    def drain(self, seconds: float) -> None:
        """Take no new promotions, let the running ones end, cancel what is left then.

        What is cancelled and goes on nevertheless is left behind after a few seconds.
        """
        running = self._admission.close()
        _wait(running, seconds)
        late = [run for run in running if not run.ended.is_set()]
        for run in late:
            _LOG.warning("%s is cancelled: the server stops", run.id)
            run.cancel.cancel()
        _wait(late, STOP_SECONDS)
        self._notifications.close(NOTIFY_SECONDS)

    def _allowed(self, request: Request, actor: Actor, peer: Peer) -> PromotionRun:
        """Understand a request and return its run, if the actor may have that."""
        resolved = self._resolver.resolve(request)
        groups = self._authorize(request, resolved, actor, peer)
        items = tuple(
            ItemRun(promoter, item, ProgressCounter(item.text)) for promoter, item in resolved.items
        )
        ends = (resolved.source, resolved.destination)
        until = time.monotonic() + self._seconds
        return PromotionRun(new_promotion_id(), request, *ends, actor, peer, items, groups, until)

    def _authorize(
        self, request: Request, resolved: Resolved, actor: Actor, peer: Peer
    ) -> tuple[str, ...]:
        """Return the actor's groups that all of it took, or record and raise the denial."""
        groups: dict[str, None] = {}
        for _, item in resolved.items:
            kind, name = item.ref.kind, item.ref.name
            try:
                if request.action is Action.ACTIVATE:
                    taken = self._policy.authorize_activation(
                        actor, kind=kind, name=name, environment=resolved.destination
                    )
                else:
                    taken = self._policy.authorize(
                        actor,
                        kind=kind,
                        name=name,
                        source=resolved.source,
                        destination=resolved.destination,
                    )
            except NotAuthorized as error:
                self._journal.denied(request, resolved, actor, peer, error)
                raise
            groups |= dict.fromkeys(taken)
        return tuple(groups)

    def _planned(
        self, request: Request, actor: Actor, cancel: CancelToken, peer: Peer
    ) -> tuple[PromotionRun, PlanReport]:
        run = self._allowed(request, actor, peer)
        forget = cancel.on_cancel(run.cancel.cancel)
        try:
            self._runner.plan(run)
        finally:
            forget()
        for item in still_open(run.items):
            item.end(run.action.done)
        outcome = overall(run.items)
        self._journal.planned(run, outcome)
        items = tuple(planned(item) for item in run.items)
        return run, PlanReport(run.source, run.destination, outcome, items, run.action)

    def _visible(self, promotion_id: str, actor: Actor, peer: Peer) -> PromotionRun:
        run = self._store.get(promotion_id)
        if run is not None:
            own = (run.actor.issuer, run.actor.subject) == (actor.issuer, actor.subject)
            if own or self._may_promote_all(run, actor):
                return run
            self._journal.hidden(run, actor, peer)
        raise PromotionNotFound(
            f"there is no promotion {promotion_id!r}",
            fix="check the id; a server forgets old promotions, its audit log does not",
        )

    def _may_promote_all(self, run: PromotionRun, actor: Actor) -> bool:
        return all(
            self._policy.may_promote(actor, run.destination, kind=ref.kind, name=ref.name)
            for ref in (item.item.ref for item in run.items)
        )

    def _run(self, run: PromotionRun) -> None:
        try:
            self._runner.promote(run)
            rows.keep(run)
        except Exception as error:  # noqa: BLE001 - the last guard: nobody may wait for ever
            self._end(run, error)
        else:
            self._end(run)

    def _end(self, run: PromotionRun, error: Exception | None = None) -> None:
        """Record the end, give the slot back and tell everybody who waits, whatever happens."""
        for item in still_open(run.items):
            end_with_error(run, item, error or RuntimeError("an item was left open"))
        promotion = run.over(overall(run.items))
        try:
            promotion = self._journal.ended(run, promotion)
        except Exception as unexpected:  # noqa: BLE001 - see above: whatever happens
            _LOG.error("%s: its end is not in the audit log", run.id, exc_info=unexpected)
            promotion = replace(promotion, audit_degraded=True)
        finally:
            self._admission.end()
            run.close(promotion)
        self._notifications.send(promotion)


def _wait(runs: Iterable[PromotionRun], seconds: float) -> None:
    """Wait until all have ended, so many seconds in all at most."""
    until = time.monotonic() + seconds
    for run in runs:
        run.ended.wait(max(0.0, until - time.monotonic()))
