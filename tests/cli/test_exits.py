from __future__ import annotations

from datetime import UTC, datetime

import pytest

from imgctl_cli import exits
from imgctl_core import errors
from imgctl_core.models import (
    Actor,
    Failure,
    ItemResult,
    Outcome,
    PlannedItem,
    PlanReport,
    Promotion,
)

#: Written out a second time, from the outside contract, so that a slip in the table shows.
EXPECTED = {
    "ERROR": 1,
    "REQUEST_INVALID": 2,
    "REFERENCE_INVALID": 2,
    "REFERENCE_AMBIGUOUS": 2,
    "KIND_UNKNOWN": 2,
    "KIND_NOT_ACTIVATABLE": 2,
    "ENVIRONMENT_MISSING": 2,
    "ENDPOINTS_SAME": 2,
    "SETTING_INVALID": 2,
    "UNAUTHENTICATED": 4,
    "TOKEN_REFUSED": 4,
    "NO_USABLE_KEY": 4,
    "AGENT_UNAVAILABLE": 4,
    "LOGIN_REFUSED": 4,
    "NOT_AUTHORIZED": 5,
    "CONFLICT": 8,
    "NOT_FOUND": 9,
    "ENVIRONMENT_NOT_FOUND": 9,
    "ENDPOINT_NOT_FOUND": 9,
    "ARTIFACT_NOT_FOUND": 9,
    "PROMOTION_NOT_FOUND": 9,
    "MANIFEST_NOT_FOUND": 9,
    "UNREACHABLE": 10,
    "SERVER_UNREACHABLE": 10,
    "ISSUER_UNREACHABLE": 10,
    "STREAM_CUT": 10,
    "SERVER_BUSY": 10,
    "RATE_LIMITED": 10,
    "PROMOTION_FAILED": 1,
    "ENDPOINT_UNREACHABLE": 1,
    "ENDPOINT_DENIED": 1,
    "ENDPOINT_FAILED": 1,
    "VERIFICATION_FAILED": 1,
    "LINT_FAILED": 1,
    "DEADLINE_EXCEEDED": 1,
    "AUDIT_UNAVAILABLE": 1,
    "PLUGIN_UNAVAILABLE": 1,
    "INTERNAL": 1,
    "CANCELLED": 1,
}


def test_every_error_of_the_tree_is_in_the_contract() -> None:
    assert {cls.reason: exits.of_error(cls) for cls in errors.all_errors()} == EXPECTED


def test_every_outcome_has_a_row() -> None:
    assert set(exits.BY_OUTCOME) == set(Outcome)


def test_an_error_from_elsewhere_takes_its_parents_row() -> None:
    class PluginsOwn(errors.EndpointDenied):
        pass

    assert exits.of_error(PluginsOwn) == 1


GOOD = (Outcome.PROMOTED, "")
LIVE = (Outcome.ACTIVATED, "")
SAME = (Outcome.UNCHANGED, "")
CLASH = (Outcome.CONFLICT, "CONFLICT")
DENIED = (Outcome.DENIED, "NOT_AUTHORIZED")
ABSENT = (Outcome.FAILED, "ARTIFACT_NOT_FOUND")
DOWN = (Outcome.FAILED, "ENDPOINT_UNREACHABLE")
BUSY = (Outcome.FAILED, "SERVER_BUSY")
STRANGE = (Outcome.FAILED, "FROM_THE_FUTURE")
BARE = (Outcome.FAILED, "")
STOPPED = (Outcome.CANCELLED, "CANCELLED")


@pytest.mark.parametrize(
    ("outcome", "items", "code"),
    [
        (Outcome.PROMOTED, [GOOD], 0),
        (Outcome.UNCHANGED, [SAME], 0),
        (Outcome.PROMOTED, [GOOD, SAME], 0),
        (Outcome.ACTIVATED, [LIVE], 0),
        (Outcome.CONFLICT, [CLASH], 8),
        (Outcome.DENIED, [DENIED], 5),
        (Outcome.FAILED, [ABSENT], 9),
        (Outcome.FAILED, [DOWN], 1),
        (Outcome.FAILED, [BUSY], 10),
        (Outcome.FAILED, [STRANGE], 1),
        (Outcome.FAILED, [BARE], 1),
        (Outcome.CANCELLED, [STOPPED], 1),
        (Outcome.FAILED, [GOOD, CLASH], 1),
        (Outcome.FAILED, [CLASH, ABSENT], 1),
        (Outcome.CONFLICT, [CLASH, CLASH], 8),
        # The server's word on the whole counts when every item is there, or none is known.
        (Outcome.FAILED, [GOOD], 1),
        (Outcome.CONFLICT, [], 8),
        (None, [(None, "")], 1),
        (None, [], 1),
    ],
)
def test_a_promotion_exits_as_its_items_say(
    outcome: Outcome | None,
    items: list[tuple[Outcome | None, str]],
    code: int,
) -> None:
    results = tuple(
        ItemResult("a:1", "image", one, error=Failure(reason, "x") if reason else None)
        for one, reason in items
    )
    ended = Promotion(
        "pr_1", "dev", "prod", Actor("i", "s"), results, datetime.now(UTC), outcome=outcome
    )
    assert exits.of_promotion(ended) == code


def test_a_plan_exits_as_the_promotion_would() -> None:
    failure = Failure("ARTIFACT_NOT_FOUND", "x")
    absent = PlannedItem("a:1", "image", Outcome.FAILED, error=failure)
    there = PlannedItem("b:1", "image", Outcome.UNCHANGED)
    assert exits.of_plan(PlanReport("dev", "prod", Outcome.FAILED, (absent,))) == 9
    assert exits.of_plan(PlanReport("dev", "prod", Outcome.UNCHANGED, (there,))) == 0
    assert exits.of_plan(PlanReport("dev", "prod", Outcome.FAILED, (absent, there))) == 1
