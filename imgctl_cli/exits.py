"""The one table of exit codes, from errors and outcomes.

    0    promoted, activated or unchanged
    1    failed, cancelled; an endpoint unreachable or refusing; part of several items
    2    bad ref, unknown kind, missing destination or setting, wrong usage
    4    not authenticated
    5    not authorized
    8    conflict: the destination holds something else
    9    source tag or version, environment, promotion or manifest does not exist
    10   imgctl's server or Dex unreachable, lost midway, or no slot free
    130  interrupted

3 (differences found), 6 (blocked by a gate) and 7 (awaiting approval) are reserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imgctl_core import errors
from imgctl_core.models import Failure, ItemResult, Outcome, PlannedItem, PlanReport, Promotion

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_AUTHENTICATED: Final = 4
NOT_AUTHORIZED: Final = 5
CONFLICT: Final = 8
NOT_FOUND: Final = 9
UNREACHABLE: Final = 10
INTERRUPTED: Final = 130

#: A class without a row takes its nearest parent's.
BY_ERROR: Final[dict[type[errors.ImgctlError], int]] = {
    errors.ImgctlError: FAILED,
    errors.RequestError: USAGE,
    errors.NotAuthenticated: NOT_AUTHENTICATED,
    errors.NotAuthorized: NOT_AUTHORIZED,
    errors.Conflict: CONFLICT,
    errors.NotFound: NOT_FOUND,
    errors.Unreachable: UNREACHABLE,
    errors.PromotionError: FAILED,
    errors.Cancelled: FAILED,
}

BY_OUTCOME: Final[dict[Outcome, int]] = {
    Outcome.PROMOTED: OK,
    Outcome.UNCHANGED: OK,
    Outcome.FAILED: FAILED,
    Outcome.CANCELLED: FAILED,
    Outcome.DENIED: NOT_AUTHORIZED,
    Outcome.CONFLICT: CONFLICT,
    Outcome.ACTIVATED: OK,
}


def of_error(cls: type[errors.ImgctlError]) -> int:
    """Return the exit code of an error class."""
    return next(BY_ERROR[parent] for parent in cls.__mro__ if parent in BY_ERROR)


def of_promotion(promotion: Promotion) -> int:
    """Return the exit code of a promotion that has ended."""
    return _of_items(promotion.outcome, promotion.items)


def of_plan(report: PlanReport) -> int:
    """Return the exit code that the planned promotion would end with."""
    return _of_items(report.outcome, report.items)


def _of_items(outcome: Outcome | None, items: Sequence[ItemResult] | Sequence[PlannedItem]) -> int:
    # Items that were not started because of another one say nothing of their own.
    telling = [item for item in items if item.outcome is not Outcome.CANCELLED] or items
    codes = {_of_item(item.outcome, item.error) for item in telling}
    if codes <= {OK}:
        if len(telling) < len(items):
            return BY_OUTCOME[Outcome.CANCELLED]
        # Every item is there: what the server says of the whole counts.
        return FAILED if outcome is None else BY_OUTCOME[outcome]
    return codes.pop() if len(codes) == 1 else FAILED


def _of_item(outcome: Outcome | None, error: Failure | None) -> int:
    if outcome is None:
        return FAILED
    code = BY_OUTCOME[outcome]
    cls = errors.error_for(error.reason) if error and code == FAILED else None
    return of_error(cls) if cls else code
