"""How an item ends, and what the ends of all items come to."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from imgctl_core.errors import Cancelled, Conflict, ImgctlError, InternalError
from imgctl_core.ids import new_incident_id
from imgctl_core.models import Failure, OnConflict, Outcome, PlannedItem, PromotionRequest
from imgctl_core.store import ItemRun, PromotionRun

_LOG = logging.getLogger("imgctl.engine")


def still_open(items: Iterable[ItemRun]) -> list[ItemRun]:
    """Return the items that have not ended."""
    return [item for item in items if item.outcome is None]


def end_with_error(run: PromotionRun, item: ItemRun, error: Exception) -> None:
    """End an item with what was raised while it was worked on."""
    failure = failure_of(error, run.id)
    if isinstance(error, Conflict):
        item.digest, item.current = error.digest or item.digest, error.current or item.current
        item.end(Outcome.CONFLICT, replace(failure, fix=_conflict_fix(run, item) or failure.fix))
    elif isinstance(error, Cancelled):
        item.end(Outcome.CANCELLED, failure)
    else:
        item.end(Outcome.FAILED, failure)


def failure_of(error: Exception, promotion_id: str) -> Failure:
    """Turn an error into data; a foreign one into an incident, with its text in our log."""
    if isinstance(error, ImgctlError):
        failure = Failure.of(error)
        return failure if failure.id else replace(failure, id=promotion_id)
    incident = new_incident_id()
    _LOG.error("%s: incident %s", promotion_id, incident, exc_info=error)
    return Failure(
        InternalError.reason,
        "something went wrong inside the server or a plugin",
        f"ask the server's operator to look for {incident} in its log",
        incident,
    )


def overall(items: Iterable[ItemRun]) -> Outcome:
    """Sum up: good only when every item is, and specific only when all agree."""
    outcomes = {item.outcome or Outcome.FAILED for item in items}
    # Items that were not started because of another one say nothing of their own.
    telling = outcomes - {Outcome.CANCELLED}
    if all(outcome.good for outcome in telling):
        if Outcome.CANCELLED in outcomes:
            return Outcome.CANCELLED
        telling = telling - {Outcome.UNCHANGED} or telling
    return telling.pop() if len(telling) == 1 else Outcome.FAILED


def planned(item: ItemRun) -> PlannedItem:
    """Return an item's plan as people see it."""
    shown = PlannedItem(
        item.item.text,
        item.item.ref.kind,
        item.outcome or Outcome.PROMOTED,
        item.digest,
        item.current,
        error=item.error,
        notes=item.progress.notes,
    )
    if item.plan is None:
        return shown
    return replace(
        shown,
        bytes_to_copy=item.plan.bytes_to_copy,
        bytes_present=item.plan.bytes_present,
        steps=item.plan.steps,
    )


def _conflict_fix(run: PromotionRun, item: ItemRun) -> str:
    """Say what stands in the way of a replacement that was asked for."""
    request = run.request
    if not isinstance(request, PromotionRequest) or request.on_conflict is OnConflict.FAIL:
        return ""
    if item.item.replace:
        return ""
    return (
        f"{run.destination} does not allow replacing: promote under another version, or "
        "have its owner set allow_replace"
    )
