"""What the engine writes into the audit log, and in which words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from imgctl_core.audit import AuditLog
from imgctl_core.audit.failing import told_to_callers
from imgctl_core.audit.fields import actor_fields, moment, peer_fields
from imgctl_core.debts import Debts
from imgctl_core.errors import AuditUnavailable, ImgctlError
from imgctl_core.models import (
    JSON,
    ActivationRequest,
    Actor,
    Failure,
    ItemResult,
    Outcome,
    Promotion,
    Request,
)
from imgctl_core.peer import Peer
from imgctl_core.resolve import Resolved
from imgctl_core.store import PromotionRun

_LOG = logging.getLogger("imgctl.audit")


class Journal:
    """Records what was promoted and what went live.

    What could not be written is owed, tried again, and blocks new promotions.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._debts = Debts(log)

    def settle(self) -> None:
        """Write what is owed from earlier, and let the copies that count catch up.

        Raises:
            AuditUnavailable: the log or one of those copies still can't be written.
        """
        with told_to_callers("no promotion begins"):
            self._settle()

    def requested(self, run: PromotionRun) -> None:
        """Record that writing is about to begin; it is on the disk when this returns.

        Raises:
            AuditUnavailable: nothing may be promoted.
        """
        fields = self._about(run)
        fields |= _asked(run.request)
        fields["items"] = [
            {
                "ref": item.item.text,
                "kind": item.item.ref.kind,
                "digest": item.digest,
                "current_digest": item.current,
            }
            for item in run.items
        ]
        with told_to_callers(f"{run.id} writes nothing"):
            self._log.record("promotion.requested", fields, durable=True)
            self._log.settle()

    def ended(self, run: PromotionRun, promotion: Promotion) -> Promotion:
        """Record an outcome and return the promotion with the log's head in it.

        The work is done, so a log that can't be written no longer changes the outcome:
        the promotion says `audit_degraded`, and the record is owed. So it does when a copy
        that counts lags behind; that one has the record before anything else is promoted.
        """
        outcome = promotion.outcome or Outcome.FAILED
        event = f"promotion.{outcome.value}"
        fields = self._about(run)
        fields["started_at"] = moment(promotion.started_at)
        fields["ended_at"] = moment(promotion.ended_at)
        fields["seconds"] = round(promotion.seconds, 3)
        fields["items"] = [
            {
                "ref": item.text,
                "kind": item.kind,
                "outcome": item.outcome.value if item.outcome else "",
                "digest": item.digest,
                "previous_digest": before.current,
                "bytes_copied": item.bytes_copied,
                "bytes_present": item.bytes_present,
                "bytes_mounted": item.bytes_mounted,
                "error": _failure(item.error),
                **_manifest(item),
            }
            for before, item in zip(run.items, promotion.items, strict=True)
        ]
        try:
            head = self._log.record(event, fields, durable=True)
        except AuditUnavailable as error:
            _LOG.error("%s is not in the audit log: %s", run.id, error)
            self._debts.owe(event, fields)
            return replace(promotion, audit_degraded=True)
        try:
            self._log.settle()
        except AuditUnavailable as error:
            _LOG.error("%s is not in every copy of the audit log: %s", run.id, error)
            return replace(promotion, audit_head=head, audit_degraded=True)
        return replace(promotion, audit_head=head)

    def planned(self, run: PromotionRun, outcome: Outcome) -> None:
        fields = self._about(run)
        fields["outcome"] = outcome.value
        fields["refs"] = list(run.request.refs)
        fields["kinds"] = [*sorted({item.item.ref.kind for item in run.items})]
        self._quietly("plan.made", fields)

    def cancel_requested(self, run: PromotionRun, actor: Actor, peer: Peer) -> None:
        fields: dict[str, JSON] = {
            "audit_id": run.id,
            "actor": actor_fields(actor),
            **peer_fields(peer),
        }
        self._quietly("promotion.cancel_requested", fields)

    def hidden(self, run: PromotionRun, actor: Actor, peer: Peer) -> None:
        """Record that somebody asked for a promotion that is not theirs to see."""
        fields: dict[str, JSON] = {
            "audit_id": run.id,
            "actor": actor_fields(actor),
            **peer_fields(peer),
            "source": run.source,
            "destination": run.destination,
            "why": "not theirs to see, so they were told that there is none",
        }
        self._quietly("authz.denied", fields)

    def denied(
        self,
        request: Request,
        resolved: Resolved,
        actor: Actor,
        peer: Peer,
        error: ImgctlError,
    ) -> None:
        fields: dict[str, JSON] = {
            "actor": actor_fields(actor),
            **peer_fields(peer),
            "request_id": request.request_id,
            "action": request.action.value,
            "refs": list(request.refs),
            "kinds": [*sorted({item.ref.kind for _, item in resolved.items})],
            "source": resolved.source,
            "destination": resolved.destination,
            "why": error.message,
        }
        self._quietly("authz.denied", fields)

    def started(self, fields: Mapping[str, JSON]) -> None:
        """Record what is in charge from now on, and what a crash cut off before.

        Raises:
            AuditUnavailable: a server that can't write its log must not start.
        """
        self._log.record("server.started", fields, durable=True)
        for entry in self._log.interrupted:
            _LOG.warning(
                "%s to %s was cut off: its outcome is not known; asking for the same again is safe",
                entry.get("audit_id"),
                entry.get("destination"),
            )
            self._log.record("promotion.interrupted", entry, durable=True)
        self._log.settle()

    def stopped(self) -> None:
        """Record that this server ends, after what is owed."""
        self._debts.give_up()
        try:
            self._settle()
        except AuditUnavailable as error:
            _LOG.error("the audit log lacks what happened last: %s", error)
        self._quietly("server.stopped", {})

    def _settle(self) -> None:
        self._debts.pay()
        self._log.settle()

    def _quietly(self, event: str, fields: Mapping[str, JSON]) -> None:
        try:
            self._log.record(event, fields)
        except AuditUnavailable as error:
            _LOG.error("%s is not in the audit log: %s", event, error)

    def _about(self, run: PromotionRun) -> dict[str, JSON]:
        return {
            "audit_id": run.id,
            "request_id": run.request.request_id,
            "action": run.action.value,
            "actor": {**actor_fields(run.actor), "groups_used": [*run.groups]},
            **peer_fields(run.peer),
            "source": run.source,
            "destination": run.destination,
        }


def _asked(request: Request) -> dict[str, JSON]:
    """Return what was asked for beside the artifacts and the ends."""
    if isinstance(request, ActivationRequest):
        return {"previous": request.previous, "wait": request.wait}
    return {"on_conflict": request.on_conflict.value}


def _failure(failure: Failure | None) -> JSON:
    if failure is None:
        return None
    return {"reason": failure.reason, "message": failure.message, "id": failure.id}


def _manifest(item: ItemResult) -> dict[str, JSON]:
    if not item.manifest_rows:
        return {}
    return {"manifest_rows": item.manifest_rows, "manifest_digest": item.manifest_digest}
