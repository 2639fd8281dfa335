"""Models <-> wire messages, the server's half: requests come in, records go out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from imgctl_core import validate
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core.access import AuthReport
from imgctl_core.errors import RequestError
from imgctl_core.models import (
    ActivationRequest,
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
    Progress,
    Promotion,
    PromotionRequest,
    Step,
)
from imgctl_core.text import one_line

#: Steps sent of one plan, over all its items; the rest become one step that counts them.
MAX_STEPS: Final = 10_000

_ON_CONFLICT: Final = {
    pb.ON_CONFLICT_UNSPECIFIED: OnConflict.FAIL,
    pb.ON_CONFLICT_FAIL: OnConflict.FAIL,
    pb.ON_CONFLICT_REPLACE: OnConflict.REPLACE,
}


def request_of(
    message: pb.PromoteRequest
    | pb.StartPromotionRequest
    | pb.PlanPromotionRequest
    | pb.ExportPlanRequest,
) -> PromotionRequest:
    """Return what was asked for.

    Raises:
        RequestError: a field holds something that no request may hold.
    """
    refs = (message.ref,) if isinstance(message, pb.PromoteRequest) else message.refs
    if message.on_conflict not in _ON_CONFLICT:
        raise RequestError(
            f"on_conflict {message.on_conflict} means nothing to this server",
            fix="use fail or replace, or update the server",
        )
    own_id = ""
    if isinstance(message, pb.PromoteRequest | pb.StartPromotionRequest):
        own_id = message.request_id
    request = PromotionRequest(
        refs=tuple(refs),
        destination=message.destination,
        source=message.source,
        on_conflict=_ON_CONFLICT[message.on_conflict],
        request_id=own_id,
        fail_fast=isinstance(message, pb.StartPromotionRequest) and message.fail_fast,
        deep=not isinstance(message, pb.PromoteRequest) and message.deep,
        options={} if isinstance(message, pb.PromoteRequest) else dict(message.options),
    )
    return validate.promotion(request)


def activation_of(
    message: pb.StartActivationRequest | pb.PlanActivationRequest,
) -> ActivationRequest:
    """Return what was asked to go live.

    Raises:
        RequestError: a field holds something that no request may hold.
    """
    started = message if isinstance(message, pb.StartActivationRequest) else None
    request = ActivationRequest(
        ref=message.ref,
        environment=message.environment,
        previous=message.previous,
        wait=started is not None and started.wait,
        request_id=started.request_id if started is not None else "",
    )
    return validate.activation(request)


def explained_of(message: pb.AuthCheckRequest) -> PromotionRequest | None:
    """Return the promotion that is to be explained, None when there is none.

    Raises:
        RequestError: a field holds something that no request may hold.
    """
    if not (message.ref or message.destination or message.source):
        return None
    return PromotionRequest(
        refs=(validate.reference(message.ref),),
        destination=validate.environment(message.destination, "destination"),
        source=validate.environment(message.source, "source"),
    )


def promotion(record: Promotion) -> pb.Promotion:
    message = pb.Promotion(
        id=record.id,
        outcome=_outcome(record.outcome),
        source=record.source,
        destination=record.destination,
        actor=pb.Actor(
            subject=record.actor.subject, name=record.actor.name, email=record.actor.email
        ),
        items=[_item(item) for item in record.items],
        request_id=record.request_id,
        audit_head=record.audit_head,
        audit_degraded=record.audit_degraded,
        action=record.action.value,
    )
    message.started_at.FromDatetime(record.started_at)
    if record.ended_at is not None:
        message.ended_at.FromDatetime(record.ended_at)
    return message


def progress(record: Progress) -> pb.Progress:
    return pb.Progress(
        phase=_phase(record.phase), items=[_item_progress(item) for item in record.items]
    )


def plan(report: PlanReport) -> pb.PlanPromotionResponse:
    budget = MAX_STEPS // max(1, len(report.items))
    return pb.PlanPromotionResponse(
        source=report.source,
        destination=report.destination,
        outcome=_outcome(report.outcome),
        items=[_planned(item, budget) for item in report.items],
    )


def activation_plan(report: PlanReport) -> pb.PlanActivationResponse:
    """Return the plan of an activation, which has exactly one item."""
    (item,) = report.items
    return pb.PlanActivationResponse(
        environment=report.destination,
        outcome=_outcome(report.outcome),
        item=_planned(item, MAX_STEPS),
    )


def plan_page(sequence: int, rows: Iterable[ManifestRow]) -> pb.ExportPlanResponse:
    return pb.ExportPlanResponse(sequence=sequence, rows=[_row(row) for row in rows])


def plan_end(sequence: int, report: PlanReport) -> pb.ExportPlanResponse:
    return pb.ExportPlanResponse(sequence=sequence, result=plan(report))


def manifest_page(sequence: int, rows: Iterable[ManifestRow]) -> pb.GetManifestResponse:
    return pb.GetManifestResponse(sequence=sequence, rows=[_row(row) for row in rows])


def manifest_end(sequence: int, rows: int) -> pb.GetManifestResponse:
    return pb.GetManifestResponse(sequence=sequence, end=pb.ManifestEnd(rows=rows))


def auth_check(report: AuthReport) -> pb.AuthCheckResponse:
    actor = report.actor
    message = pb.AuthCheckResponse(
        subject=actor.subject,
        name=actor.name,
        email=actor.email,
        groups=actor.groups,
        matched_group=actor.matched_group,
        issuer=actor.issuer,
        destinations=report.destinations,
        server_version=report.server_version,
    )
    if actor.expires_at is not None:
        message.expires_at.FromDatetime(actor.expires_at)
    if report.explanation is not None:
        message.source = report.explanation.source
        message.destination = report.explanation.destination
        message.decisions.extend(
            pb.Decision(check=one.check, allowed=one.allowed, why=one.why, fix=one.fix)
            for one in report.explanation.decisions
        )
    return message


def environments(records: Iterable[EnvironmentInfo]) -> pb.ListEnvironmentsResponse:
    return pb.ListEnvironmentsResponse(
        environments=[
            pb.Environment(
                name=record.name,
                endpoints=[
                    pb.Endpoint(kind=end.kind, address=end.address) for end in record.endpoints
                ],
                default_source=record.default_source,
                may_promote=record.may_promote,
                allow_replace=record.allow_replace,
            )
            for record in records
        ]
    )


def plugins(records: Iterable[PluginInfo]) -> pb.ListPluginsResponse:
    return pb.ListPluginsResponse(
        plugins=[
            pb.Plugin(
                name=record.name,
                distribution=record.distribution,
                version=record.version,
                status=pb.PluginStatus.Value(f"PLUGIN_STATUS_{record.status.name}"),
                promoters=record.promoters,
                notifiers=record.notifiers,
                phase=record.phase,
                error=record.error,
            )
            for record in records
        ]
    )


def _item(item: ItemResult) -> pb.Item:
    return pb.Item(
        ref=item.text,
        kind=item.kind,
        outcome=_outcome(item.outcome),
        digest=item.digest,
        bytes_copied=_count(item.bytes_copied),
        bytes_present=_count(item.bytes_present),
        bytes_mounted=_count(item.bytes_mounted),
        error=_failure(item.error),
        notes=item.notes,
        manifest_rows=item.manifest_rows,
        manifest_digest=item.manifest_digest,
    )


def _row(row: ManifestRow) -> pb.ManifestRow:
    return pb.ManifestRow(ref=row.text, json=row.json)


def _item_progress(item: ItemProgress) -> pb.ItemProgress:
    return pb.ItemProgress(
        ref=item.text,
        phase=_phase(item.phase),
        bytes_total=_count(item.bytes_total),
        bytes_copied=_count(item.bytes_copied),
        bytes_present=_count(item.bytes_present),
        bytes_mounted=_count(item.bytes_mounted),
        message=item.message,
    )


def _planned(item: PlannedItem, budget: int) -> pb.PlannedItem:
    return pb.PlannedItem(
        ref=item.text,
        kind=item.kind,
        outcome=_outcome(item.outcome),
        digest=item.digest,
        current_digest=item.current,
        bytes_to_copy=_count(item.bytes_to_copy),
        bytes_present=_count(item.bytes_present),
        steps=[_step(step) for step in _within(item.steps, budget)],
        error=_failure(item.error),
        notes=item.notes,
    )


def _within(steps: tuple[Step, ...], budget: int) -> tuple[Step, ...]:
    if len(steps) <= budget:
        return steps
    rest = steps[budget:]
    total = sum(step.bytes for step in rest)
    return (*steps[:budget], Step("more", f"{len(rest)} further steps", total))


def _step(step: Step) -> pb.Step:
    # A promoter's words: a lone surrogate in them can't be sent at all.
    return pb.Step(
        action=one_line(step.action), subject=one_line(step.subject), bytes=_count(step.bytes)
    )


def _failure(failure: Failure | None) -> pb.Error | None:
    if failure is None:
        return None
    return pb.Error(reason=failure.reason, message=failure.message, fix=failure.fix, id=failure.id)


def _outcome(outcome: Outcome | None) -> pb.Outcome.ValueType:
    return (
        pb.OUTCOME_UNSPECIFIED if outcome is None else pb.Outcome.Value(f"OUTCOME_{outcome.name}")
    )


def _phase(phase: Phase) -> pb.Phase.ValueType:
    return pb.Phase.Value(f"PHASE_{phase.name}")


def _count(number: int) -> int:
    # A retry may take back more than has been counted so far; the wire has no sign.
    return max(0, number)
