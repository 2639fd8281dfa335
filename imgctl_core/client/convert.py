"""Wire messages <-> models, the client's half: requests go out, records come in.

A newer server may send words that this client doesn't know. None of them is ever taken
for success.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from imgctl_core import validate
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core.access import AuthReport, Decision, Explanation
from imgctl_core.errors import InternalError
from imgctl_core.manifest import line
from imgctl_core.models import (
    Action,
    ActivationRequest,
    Actor,
    EndpointInfo,
    EnvironmentInfo,
    Failure,
    ItemProgress,
    ItemResult,
    ManifestRow,
    OnConflict,
    Outcome,
    Phase,
    PlannedItem,
    PlanReport,
    PluginInfo,
    PluginStatus,
    Progress,
    Promotion,
    PromotionRequest,
    Step,
)

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

_ON_CONFLICT: Final = {
    OnConflict.FAIL: pb.ON_CONFLICT_FAIL,
    OnConflict.REPLACE: pb.ON_CONFLICT_REPLACE,
}
_OUTCOMES: Final = {pb.Outcome.Value(f"OUTCOME_{outcome.name}"): outcome for outcome in Outcome}
_ACTIONS: Final = {action.value: action for action in Action}
_PHASES: Final = {pb.Phase.Value(f"PHASE_{phase.name}"): phase for phase in Phase}
_STATUSES: Final = {
    pb.PluginStatus.Value(f"PLUGIN_STATUS_{status.name}"): status for status in PluginStatus
}


def promote_request(request: PromotionRequest) -> pb.PromoteRequest:
    """Return the message for a request of exactly one reference.

    Raises:
        RequestError: it holds something that no request may hold.
        ValueError: it has none or several.
    """
    (ref,) = validate.promotion(request).refs
    return pb.PromoteRequest(
        ref=ref,
        source=request.source,
        destination=request.destination,
        on_conflict=_ON_CONFLICT[request.on_conflict],
        request_id=request.request_id,
    )


def start_request(request: PromotionRequest) -> pb.StartPromotionRequest:
    validate.promotion(request)
    return pb.StartPromotionRequest(
        refs=request.refs,
        source=request.source,
        destination=request.destination,
        on_conflict=_ON_CONFLICT[request.on_conflict],
        request_id=request.request_id,
        fail_fast=request.fail_fast,
        deep=request.deep,
        options=request.options,
    )


def plan_request(request: PromotionRequest) -> pb.PlanPromotionRequest:
    validate.promotion(request)
    return pb.PlanPromotionRequest(
        refs=request.refs,
        source=request.source,
        destination=request.destination,
        on_conflict=_ON_CONFLICT[request.on_conflict],
        deep=request.deep,
        options=request.options,
    )


def start_activation_request(request: ActivationRequest) -> pb.StartActivationRequest:
    validate.activation(request)
    return pb.StartActivationRequest(
        ref=request.ref,
        environment=request.environment,
        previous=request.previous,
        wait=request.wait,
        request_id=request.request_id,
    )


def plan_activation_request(request: ActivationRequest) -> pb.PlanActivationRequest:
    validate.activation(request)
    return pb.PlanActivationRequest(
        ref=request.ref, environment=request.environment, previous=request.previous
    )


def export_request(request: PromotionRequest) -> pb.ExportPlanRequest:
    validate.promotion(request)
    return pb.ExportPlanRequest(
        refs=request.refs,
        source=request.source,
        destination=request.destination,
        on_conflict=_ON_CONFLICT[request.on_conflict],
        deep=request.deep,
        options=request.options,
    )


def promotion(message: pb.Promotion) -> Promotion:
    actor = message.actor
    return Promotion(
        id=message.id,
        source=message.source,
        destination=message.destination,
        actor=Actor(issuer="", subject=actor.subject, name=actor.name, email=actor.email),
        items=tuple(_item(item) for item in message.items),
        started_at=_moment(message.started_at),
        ended_at=_moment(message.ended_at) if message.HasField("ended_at") else None,
        outcome=_outcome(message.outcome),
        request_id=message.request_id,
        audit_head=message.audit_head,
        audit_degraded=message.audit_degraded,
        # A server that says nothing of it knows only the one.
        action=_ACTIONS.get(message.action, Action.PROMOTE),
    )


def progress(message: pb.Progress) -> Progress:
    return Progress(
        _phase(message.phase),
        tuple(
            ItemProgress(
                item.ref,
                _phase(item.phase),
                item.bytes_total,
                item.bytes_copied,
                item.bytes_present,
                item.bytes_mounted,
                item.message,
            )
            for item in message.items
        ),
    )


def plan(message: pb.PlanPromotionResponse) -> PlanReport:
    return PlanReport(
        message.source,
        message.destination,
        _outcome(message.outcome) or Outcome.FAILED,
        tuple(_planned(item) for item in message.items),
    )


def activation_plan(message: pb.PlanActivationResponse) -> PlanReport:
    return PlanReport(
        message.environment,
        message.environment,
        _outcome(message.outcome) or Outcome.FAILED,
        (_planned(message.item),),
        Action.ACTIVATE,
    )


def manifest_row(message: pb.ManifestRow) -> ManifestRow:
    """Return a row in its one form, whatever form it came in.

    Raises:
        InternalError: it is no JSON object.
    """
    try:
        fields = json.loads(message.json)
        if isinstance(fields, dict):
            return ManifestRow(message.ref, line(fields))
    except (ValueError, RecursionError):
        pass
    raise InternalError(
        "the server sent a manifest with a row that is no JSON object",
        fix="tell whoever runs it: a plugin of its may have a bug",
    )


def auth_check_request(explained: PromotionRequest | None) -> pb.AuthCheckRequest:
    """Return the message that asks who the caller is, and about a request of one reference.

    Raises:
        RequestError: it holds something that no request may hold.
        ValueError: the request has several references.
    """
    if explained is None:
        return pb.AuthCheckRequest()
    (ref,) = validate.promotion(explained).refs
    return pb.AuthCheckRequest(ref=ref, source=explained.source, destination=explained.destination)


def auth_check(message: pb.AuthCheckResponse, explained: PromotionRequest | None) -> AuthReport:
    return AuthReport(
        Actor(
            issuer=message.issuer,
            subject=message.subject,
            name=message.name,
            email=message.email,
            groups=tuple(message.groups),
            matched_group=message.matched_group,
            expires_at=_moment(message.expires_at) if message.HasField("expires_at") else None,
        ),
        tuple(message.destinations),
        message.server_version,
        _explanation(message, explained.refs[0]) if explained is not None else None,
    )


def _explanation(message: pb.AuthCheckResponse, ref: str) -> Explanation:
    return Explanation(
        ref,
        message.source,
        message.destination,
        tuple(Decision(one.check, one.allowed, one.why, one.fix) for one in message.decisions),
    )


def environments(message: pb.ListEnvironmentsResponse) -> tuple[EnvironmentInfo, ...]:
    return tuple(
        EnvironmentInfo(
            record.name,
            tuple(EndpointInfo(end.kind, end.address) for end in record.endpoints),
            record.default_source,
            record.may_promote,
            record.allow_replace,
        )
        for record in message.environments
    )


def plugins(message: pb.ListPluginsResponse) -> tuple[PluginInfo, ...]:
    return tuple(
        PluginInfo(
            record.name,
            record.distribution,
            record.version,
            _STATUSES.get(record.status, PluginStatus.QUARANTINED),
            tuple(record.promoters),
            tuple(record.notifiers),
            record.phase,
            record.error,
        )
        for record in message.plugins
    )


def _item(item: pb.Item) -> ItemResult:
    return ItemResult(
        item.ref,
        item.kind,
        _outcome(item.outcome),
        item.digest,
        item.bytes_copied,
        item.bytes_present,
        item.bytes_mounted,
        _failure(item.error) if item.HasField("error") else None,
        tuple(item.notes),
        item.manifest_rows,
        item.manifest_digest,
    )


def _planned(item: pb.PlannedItem) -> PlannedItem:
    return PlannedItem(
        item.ref,
        item.kind,
        _outcome(item.outcome) or Outcome.FAILED,
        item.digest,
        item.current_digest,
        item.bytes_to_copy,
        item.bytes_present,
        tuple(Step(step.action, step.subject, step.bytes) for step in item.steps),
        _failure(item.error) if item.HasField("error") else None,
        tuple(item.notes),
    )


def _failure(error: pb.Error) -> Failure:
    return Failure(error.reason, error.message, error.fix, error.id)


def _outcome(number: pb.Outcome.ValueType) -> Outcome | None:
    if number == pb.OUTCOME_UNSPECIFIED:
        return None
    return _OUTCOMES.get(number, Outcome.FAILED)


def _phase(number: pb.Phase.ValueType) -> Phase:
    if number == pb.PHASE_UNSPECIFIED:
        return Phase.PLAN
    # A phase that came with a newer server lies somewhere in the middle.
    return _PHASES.get(number, Phase.STAGE)


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
