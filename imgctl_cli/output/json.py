"""Results as JSON: the only output whose shape is a promise.

Names are those of the wire contract. All of it is ASCII, so that nothing in it can steer
a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgctl_core.access import AuthReport, Explanation
from imgctl_core.models import (
    JSON,
    Action,
    EnvironmentInfo,
    Failure,
    ItemResult,
    PlannedItem,
    PlanReport,
    PluginInfo,
    Promotion,
)

if TYPE_CHECKING:
    from imgctl_core.client.login import Token

SCHEMA_VERSION = 1


def document(fields: dict[str, JSON]) -> str:
    """Return one object with its schema version, on one line."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **fields}, ensure_ascii=True)


def failure(failure: Failure) -> str:
    return document({"error": _error(failure)})


def promotion(promotion: Promotion, token: str = "") -> str:
    """Return a promotion; `token` is shown only when it was asked for."""
    fields: dict[str, JSON] = {
        "id": promotion.id,
        "outcome": promotion.outcome.value if promotion.outcome else None,
        "source": promotion.source,
        "destination": promotion.destination,
        "items": [_item(item) for item in promotion.items],
        "audit_head": promotion.audit_head,
        "audit_degraded": promotion.audit_degraded,
        **_action(promotion.action),
    }
    return document({"token": token, **fields} if token else fields)


def plan(report: PlanReport, token: str = "") -> str:
    fields: dict[str, JSON] = {
        "outcome": report.outcome.value,
        "source": report.source,
        "destination": report.destination,
        "items": [_planned(item) for item in report.items],
        **_action(report.action),
    }
    return document({"token": token, **fields} if token else fields)


def auth(report: AuthReport) -> str:
    actor = report.actor
    return document(
        {
            "subject": actor.subject,
            "name": actor.name,
            "email": actor.email,
            "groups": list(actor.groups),
            "matched_group": actor.matched_group,
            "expires_at": _time(actor.expires_at),
            "issuer": actor.issuer,
            "destinations": list(report.destinations),
            "server_version": report.server_version,
            **_explanation(report.explanation),
        }
    )


def login(token: Token, *, show_token: bool) -> str:
    """Return what a token says of itself; the token itself only when it was asked for."""
    fields: dict[str, JSON] = {
        "subject": token.text("sub"),
        "name": token.text("name"),
        "email": token.text("email"),
        "groups": list(token.groups),
        "audiences": list(token.audiences),
        "expires_at": _time(token.expires),
        "issuer": token.text("iss"),
    }
    return document({"token": token.value, **fields} if show_token else fields)


def plugins(infos: Iterable[PluginInfo]) -> str:
    return document({"plugins": [_plugin(info) for info in infos]})


def environments(infos: Iterable[EnvironmentInfo]) -> str:
    return document({"environments": [_environment(info) for info in infos]})


def _error(failure: Failure | None) -> JSON:
    if failure is None:
        return None
    return {
        "reason": failure.reason,
        "message": failure.message,
        "fix": failure.fix,
        "id": failure.id,
    }


def _item(item: ItemResult) -> JSON:
    return {
        "ref": item.text,
        "kind": item.kind,
        "outcome": item.outcome.value if item.outcome else None,
        "digest": item.digest,
        "bytes_copied": item.bytes_copied,
        "bytes_present": item.bytes_present,
        "bytes_mounted": item.bytes_mounted,
        "error": _error(item.error),
        **_notes(item.notes),
        **_manifest(item),
    }


def _planned(item: PlannedItem) -> JSON:
    return {
        "ref": item.text,
        "kind": item.kind,
        "outcome": item.outcome.value,
        "digest": item.digest,
        "current_digest": item.current,
        "bytes_to_copy": item.bytes_to_copy,
        "bytes_present": item.bytes_present,
        "steps": [
            {"action": step.action, "subject": step.subject, "bytes": step.bytes}
            for step in item.steps
        ],
        "error": _error(item.error),
        **_notes(item.notes),
    }


def _action(action: Action) -> dict[str, JSON]:
    """Return the key only for what is no promotion in the narrow sense."""
    return {} if action is Action.PROMOTE else {"action": action.value}


def _explanation(explanation: Explanation | None) -> dict[str, JSON]:
    """Return the key only when it was asked for."""
    if explanation is None:
        return {}
    fields: dict[str, JSON] = {
        "ref": explanation.ref,
        "source": explanation.source,
        "destination": explanation.destination,
        "allowed": explanation.allowed,
        "decisions": [
            {"check": one.check, "allowed": one.allowed, "why": one.why, "fix": one.fix}
            for one in explanation.decisions
        ],
    }
    return {"explanation": fields}


def _notes(notes: tuple[str, ...]) -> dict[str, JSON]:
    """Return the key only when there is something to say: most results have none."""
    return {"notes": list(notes)} if notes else {}


def _manifest(item: ItemResult) -> dict[str, JSON]:
    """Return the keys only when there is a manifest: many kinds have none."""
    if not item.manifest_rows:
        return {}
    return {"manifest_rows": item.manifest_rows, "manifest_digest": item.manifest_digest}


def _plugin(info: PluginInfo) -> JSON:
    return {
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "status": info.status.value,
        "promoters": list(info.promoters),
        "notifiers": list(info.notifiers),
        "phase": info.phase,
        "error": info.error,
    }


def _environment(info: EnvironmentInfo) -> JSON:
    return {
        "name": info.name,
        "endpoints": [{"kind": end.kind, "address": end.address} for end in info.endpoints],
        "default_source": info.default_source,
        "may_promote": info.may_promote,
        "allow_replace": info.allow_replace,
    }


def _time(moment: datetime | None) -> JSON:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
