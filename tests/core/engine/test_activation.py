"""Going live takes the one path of a promotion: same record, same lock, same end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from imgctl_core.auth.policy import EnvironmentRules
from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import (
    AuditUnavailable,
    EndpointNotFound,
    EnvironmentNotFound,
    ImgctlError,
    InvalidReference,
    MissingEnvironment,
    NotActivatable,
    NotAuthorized,
    RequestError,
    ServerBusy,
    UnknownKind,
)
from imgctl_core.models import Action, Outcome, Plan
from imgctl_core.testing import FakeActivator

STEPS = ["plan_activation", "activate", "verify_activation"]


def test_a_version_goes_live_and_is_recorded_before_and_after(world: Any) -> None:
    promotion = world.activate("spa:shop:1")
    assert promotion.outcome is Outcome.ACTIVATED
    assert promotion.action is Action.ACTIVATE
    assert promotion.id.startswith("pr_")
    assert (promotion.source, promotion.destination) == ("prod", "prod")
    assert world.builds.live("prod", "shop") == "1"
    assert world.builds.calls == STEPS
    (item,) = promotion.items
    assert (item.text, item.kind, item.outcome) == ("spa:shop:1", "spa", Outcome.ACTIVATED)
    assert item.digest == world.builds.shown("prod")["shop:1"]
    events = [record["event"] for record in world.records()]
    assert events == ["promotion.requested", "promotion.activated"]
    assert {record["audit_id"] for record in world.records()} == {promotion.id}
    assert promotion.audit_head == world.audit.head
    assert world.engine.get(promotion.id, world.alice) == promotion


def test_the_request_is_on_record_before_anything_is_switched(world: Any) -> None:
    seen: list[list[object]] = []

    def look(step: str, context: Context) -> None:
        if step == "activate":
            seen.append([r["event"] for r in world.records()])

    world.builds.hooks.append(look)
    world.activate("spa:shop:1")
    assert seen == [["promotion.requested"]]


def test_the_record_says_what_was_done_and_what_was_live_before(world: Any) -> None:
    digests = world.builds.shown("prod")
    world.activate("spa:shop:1")
    world.activate("spa:shop:2", wait=True, request_id="r-2")
    requested, activated = world.records()[-2:]
    for record in (requested, activated):
        assert (record["action"], record["request_id"]) == ("activate", "r-2")
        assert (record["source"], record["destination"]) == ("prod", "prod")
        assert record["actor"]["sub"] == "alice"
    assert (requested["previous"], requested["wait"]) == (False, True)
    assert "on_conflict" not in requested
    assert requested["items"][0]["digest"] == digests["shop:2"]
    assert requested["items"][0]["current_digest"] == digests["shop:1"]
    assert activated["items"][0]["digest"] == digests["shop:2"]
    assert activated["items"][0]["previous_digest"] == digests["shop:1"]


def test_a_promotions_record_says_that_it_was_one(world: Any) -> None:
    world.promote("app:v1")
    assert [record["action"] for record in world.records()] == ["promote", "promote"]
    assert world.records("promotion.requested")[0]["on_conflict"] == "fail"


def test_the_same_again_is_unchanged_and_touches_nothing(world: Any) -> None:
    world.activate("spa:shop:1")
    world.builds.calls.clear()
    again = world.activate("spa:shop:1")
    assert again.outcome is Outcome.UNCHANGED
    assert world.builds.calls == ["plan_activation"]
    assert [r["event"] for r in world.records()][-1] == "promotion.unchanged"


def test_the_one_before_is_found_and_named(world: Any) -> None:
    world.activate("spa:shop:1")
    world.activate("spa:shop:2")
    promotion = world.activate("spa:shop", previous=True)
    assert promotion.outcome is Outcome.ACTIVATED
    assert promotion.items[0].text == "spa:shop:1"
    assert world.builds.live("prod", "shop") == "1"
    requested, activated = world.records()[-2:]
    assert requested["previous"] is True
    assert [r["items"][0]["ref"] for r in (requested, activated)] == ["spa:shop:1"] * 2


def test_without_one_before_nothing_is_switched(world: Any) -> None:
    world.activate("spa:shop:1")
    promotion = world.activate("spa:shop", previous=True)
    assert promotion.outcome is Outcome.FAILED
    assert promotion.items[0].error.reason == "ARTIFACT_NOT_FOUND"
    assert promotion.items[0].text == "spa:shop"
    assert world.builds.live("prod", "shop") == "1"


def test_waiting_is_for_the_activator_to_do(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    activate, seen = FakeActivator.activate, []

    def spy(self: FakeActivator, plan: Plan, context: Context) -> None:
        seen.append(plan.item.wait)
        activate(self, plan, context)

    monkeypatch.setattr(FakeActivator, "activate", spy)
    world.activate("spa:shop:1", wait=True)
    world.activate("spa:shop:2")
    assert seen == [True, False]


def test_something_else_that_goes_live_meanwhile_is_a_conflict(world: Any) -> None:
    def slip_in(step: str, context: Context) -> None:
        if step == "activate":
            world.builds.make_live("prod", "shop", "2")

    world.builds.hooks.append(slip_in)
    promotion = world.activate("spa:shop:1")
    assert promotion.outcome is Outcome.CONFLICT
    assert world.builds.live("prod", "shop") == "2"
    assert "allow_replace" not in promotion.items[0].error.fix


def test_what_is_live_in_the_end_is_what_counts(world: Any) -> None:
    def slip_in(step: str, context: Context) -> None:
        if step == "verify_activation":
            world.builds.make_live("prod", "shop", "2")

    world.builds.hooks.append(slip_in)
    promotion = world.activate("spa:shop:1")
    assert promotion.outcome is Outcome.FAILED
    assert promotion.items[0].error.reason == "VERIFICATION_FAILED"


@pytest.mark.parametrize("step", STEPS[:2])
def test_after_a_crash_the_same_again_completes(world: Any, step: str) -> None:
    world.builds.fail(step, RuntimeError("the process died"))
    assert world.activate("spa:shop:1").items[0].error.reason == "INTERNAL"
    assert world.builds.live("prod", "shop") is None
    assert world.activate("spa:shop:1").outcome is Outcome.ACTIVATED


def test_after_a_crash_past_the_switch_the_same_again_finds_it_done(world: Any) -> None:
    world.builds.fail("verify_activation", RuntimeError("the process died"))
    assert world.activate("spa:shop:1").outcome is Outcome.FAILED
    assert world.activate("spa:shop:1").outcome is Outcome.UNCHANGED
    assert world.builds.live("prod", "shop") == "1"


class Gate:
    """Holds the first activation in `activate`, until it is opened."""

    def __init__(self, builds: Any) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        builds.hooks.append(self)

    def __call__(self, step: str, context: Context) -> None:
        if step == "activate" and not self.reached.is_set():
            self.reached.set()
            assert self.open.wait(30)


def _turn_awaited(world: Any) -> threading.Event:
    """Return an event that is set when a promotion has to wait for another one."""
    changed, awaited = world.engine._runner._locks._changed, threading.Event()
    wait_for = changed.wait_for

    def spy(predicate: Callable[[], bool], timeout: float | None) -> bool:
        if not predicate():
            awaited.set()
        return bool(wait_for(predicate, timeout))

    changed.wait_for = spy
    return awaited


def _one_waits_for_the_other(
    world: Any, first: Any, second: Any, *, cancel: bool = False
) -> tuple[Any, Any]:
    gate, awaited = Gate(world.builds), _turn_awaited(world)
    one = world.engine.start(first, world.alice)
    assert gate.reached.wait(10)
    two = world.engine.start(second, world.alice)
    assert awaited.wait(10)
    if cancel:
        world.engine.cancel(two.id, world.alice)
        assert world.wait(two.id).outcome is Outcome.CANCELLED
    gate.open.set()
    return world.wait(one.id), world.wait(two.id)


def test_another_version_of_the_same_waits_and_is_planned_again(world: Any) -> None:
    one, two = _one_waits_for_the_other(
        world, world.activation("spa:shop:1"), world.activation("spa:shop:2")
    )
    assert (one.outcome, two.outcome) == (Outcome.ACTIVATED, Outcome.ACTIVATED)
    assert world.builds.live("prod", "shop") == "2"
    last = world.records("promotion.activated")[-1]["items"][0]
    assert last["previous_digest"] == world.builds.shown("prod")["shop:1"]


def test_waiting_can_be_cancelled(world: Any) -> None:
    one, two = _one_waits_for_the_other(
        world, world.activation("spa:shop:1"), world.activation("spa:shop:2"), cancel=True
    )
    assert (one.outcome, two.outcome) == (Outcome.ACTIVATED, Outcome.CANCELLED)
    assert world.builds.live("prod", "shop") == "1"


def test_two_who_go_back_at_the_same_time_go_back_once(world: Any) -> None:
    world.activate("spa:shop:1")
    world.activate("spa:shop:2")
    back = world.activation("spa:shop", previous=True)
    one, two = _one_waits_for_the_other(world, back, back)
    assert (one.outcome, two.outcome) == (Outcome.ACTIVATED, Outcome.UNCHANGED)
    assert {item.text for item in (*one.items, *two.items)} == {"spa:shop:1"}
    assert world.builds.live("prod", "shop") == "1"


def test_going_back_from_what_is_not_live_any_more_is_a_conflict(world: Any) -> None:
    world.builds.put("prod", "shop", "3", b"build 3")
    world.activate("spa:shop:1")
    world.activate("spa:shop:2")
    one, two = _one_waits_for_the_other(
        world, world.activation("spa:shop:3"), world.activation("spa:shop", previous=True)
    )
    assert (one.outcome, two.outcome) == (Outcome.ACTIVATED, Outcome.CONFLICT)
    digests = world.builds.shown("prod")
    assert digests["shop:3"] in two.items[0].error.message
    assert world.builds.live("prod", "shop") == "3"
    (conflict,) = world.records("promotion.conflict")
    assert conflict["items"][0]["previous_digest"] == digests["shop:3"]


def test_another_artifact_and_a_promotion_wait_for_nobody(world: Any) -> None:
    world.builds.put("prod", "docs", "1", b"docs")
    world.builds.put("dev", "shop", "1", b"build 1")
    gate = Gate(world.builds)
    held = world.engine.start(world.activation("spa:shop:1"), world.alice)
    assert gate.reached.wait(10)
    assert world.activate("spa:docs:1").outcome is Outcome.ACTIVATED
    assert world.promote("spa:shop:1").outcome is Outcome.UNCHANGED
    gate.open.set()
    assert world.wait(held.id).outcome is Outcome.ACTIVATED


def test_a_cancel_before_the_switch_leaves_live_what_is(world: Any) -> None:
    def cancel(step: str, context: Context) -> None:
        if step == "plan_activation":
            context.cancel.cancel()

    world.builds.hooks.append(cancel)
    promotion = world.activate("spa:shop:1")
    assert promotion.outcome is Outcome.CANCELLED
    assert world.builds.live("prod", "shop") is None
    assert not world.records("promotion.requested")


def test_the_same_request_again_is_the_same_promotion(world: Any) -> None:
    first = world.activate("spa:shop:1", request_id="deploy-7")
    again = world.engine.start(world.activation("spa:shop:1", request_id="deploy-7"), world.alice)
    assert again.id == first.id
    assert world.builds.calls == STEPS


def test_one_id_for_promoting_and_for_going_live_is_two_promotions(world: Any) -> None:
    world.builds.put("dev", "shop", "3", b"build 3")
    promoted = world.promote("spa:shop:3", request_id="deploy-7")
    activated = world.activate("spa:shop:3", request_id="deploy-7")
    assert (promoted.outcome, activated.outcome) == (Outcome.PROMOTED, Outcome.ACTIVATED)
    assert promoted.id != activated.id


def test_it_takes_a_slot_as_a_promotion_does(make_world: Any) -> None:
    world = make_world(max_promotions=1)
    gate = Gate(world.builds)
    held = world.engine.start(world.activation("spa:shop:1"), world.alice)
    assert gate.reached.wait(10)
    with pytest.raises(ServerBusy):
        world.engine.start(world.activation("spa:shop:2"), world.alice)
    gate.open.set()
    world.wait(held.id)


def test_a_log_that_cant_be_written_switches_nothing(world: Any) -> None:
    record = world.audit.record

    def fail(event: str, fields: Any, *, durable: bool = False) -> str:
        raise AuditUnavailable("the disk is full")

    world.audit.record = fail
    promotion = world.activate("spa:shop:1")
    world.audit.record = record
    assert promotion.items[0].error.reason == "AUDIT_UNAVAILABLE"
    assert world.builds.live("prod", "shop") is None


def test_notifiers_are_told_that_something_went_live(world: Any) -> None:
    promotion = world.activate("spa:shop:1")
    assert world.listener.heard.wait(10)
    assert world.listener.told == [promotion]


def test_a_plan_shows_the_switch_and_makes_none(world: Any) -> None:
    world.activate("spa:shop:1")
    report = world.engine.plan(world.activation("spa:shop:2"), world.alice, CancelToken())
    assert (report.action, report.outcome) == (Action.ACTIVATE, Outcome.ACTIVATED)
    assert (report.source, report.destination) == ("prod", "prod")
    (item,) = report.items
    digests = world.builds.shown("prod")
    assert (item.digest, item.current) == (digests["shop:2"], digests["shop:1"])
    assert [(step.action, step.subject) for step in item.steps] == [("switch", "shop to 2")]
    assert world.builds.live("prod", "shop") == "1"
    (record,) = world.records("plan.made")
    assert (record["action"], record["outcome"]) == ("activate", "activated")
    assert record["refs"] == ["spa:shop:2"]


def test_a_denial_is_recorded_and_says_which_group_would_do(make_world: Any) -> None:
    world = make_world(prod=EnvironmentRules(allowed_groups=("prod",)))
    for call in (world.engine.start, lambda r, a: world.engine.plan(r, a, CancelToken())):
        with pytest.raises(NotAuthorized, match=r"make spa shop live in prod; group prod"):
            call(world.activation("spa:shop:1"), world.alice)
    assert len(world.records("authz.denied")) == 2
    record = world.records("authz.denied")[0]
    assert (record["action"], record["refs"]) == ("activate", ["spa:shop:1"])
    assert (record["source"], record["destination"]) == ("prod", "prod")
    assert world.builds.calls == []
    assert world.activate("spa:shop:1", world.carol).outcome is Outcome.ACTIVATED


def test_where_promotions_come_from_is_not_asked_of_what_is_there(make_world: Any) -> None:
    world = make_world(prod=EnvironmentRules(promote_from=("int",)))
    assert world.activate("spa:shop:1").outcome is Outcome.ACTIVATED
    closed = make_world(prod=EnvironmentRules(promote_from=()))
    with pytest.raises(NotAuthorized, match="nobody may make spa shop live in prod"):
        closed.activate("spa:shop:1")


@pytest.mark.parametrize(
    ("ref", "more", "error", "hint"),
    [
        ("spa:shop:1", {"previous": True}, RequestError, "type spa:shop with --previous"),
        ("spa:shop", {}, RequestError, "type spa:shop:<version>, or spa:shop with --previous"),
        ("spa::shop", {}, RequestError, "type spa:shop:<version>"),
        ("spa:SHOP", {"previous": True}, InvalidReference, ""),
        ("spa:shop:", {}, InvalidReference, ""),
        ("app:v1", {}, NotActivatable, "spa"),
        ("image:app:v1", {}, NotActivatable, "spa"),
        ("shop", {"previous": True}, NotActivatable, "spa"),
        ("shop:a:b", {}, UnknownKind, "spa"),
        ("spa:shop:1", {"environment": ""}, MissingEnvironment, "--destination"),
        ("spa:shop:1", {"environment": "prdo"}, EnvironmentNotFound, "'prod'"),
        ("spa:shop:1", {"environment": "empty"}, EndpointNotFound, "prod"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything(
    world: Any, ref: str, more: dict[str, object], error: type[ImgctlError], hint: str
) -> None:
    for call in (world.engine.start, lambda r, a: world.engine.plan(r, a, CancelToken())):
        with pytest.raises(error) as caught:
            call(world.activation(ref, **more), world.alice)
        assert type(caught.value) is error
        assert hint in caught.value.fix
    assert world.builds.calls == []
    assert world.records() == []


def test_a_kind_may_be_set_off_by_two_colons(world: Any) -> None:
    assert world.activate("spa::shop:1").items[0].text == "spa::shop:1"


def test_environments_are_spelt_as_everywhere(world: Any) -> None:
    assert world.activate("spa:shop:1", environment="PROD").destination == "prod"
