"""The one path of a promotion, from request to audit record."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from imgctl_core.auth.policy import EnvironmentRules
from imgctl_core.context import Context
from imgctl_core.errors import (
    EndpointNotFound,
    EnvironmentNotFound,
    MissingEnvironment,
    NotAuthorized,
    PromotionNotFound,
    RequestError,
    SameEndpoint,
    ServerBusy,
)
from imgctl_core.models import OnConflict, Outcome, Phase, Progress, Promotion
from imgctl_core.peer import Peer


def test_a_promotion_copies_and_is_recorded_before_and_after(world: Any) -> None:
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.PROMOTED
    assert world.shelves["prod"] == {"app:v1": "sha256:aa"}
    assert world.promoter.calls == ["plan", "stage", "publish", "verify"]
    (item,) = promotion.items
    assert (item.outcome, item.digest, item.bytes_copied) == (Outcome.PROMOTED, "sha256:aa", 10)
    events = [record["event"] for record in world.records()]
    assert events == ["promotion.requested", "promotion.promoted"]
    assert {record["audit_id"] for record in world.records()} == {promotion.id}
    assert promotion.audit_head == world.audit.head


def test_the_request_is_on_record_before_anything_is_written(world: Any) -> None:
    seen: list[list[object]] = []
    world.promoter.on["stage"] = lambda *_: seen.append([r["event"] for r in world.records()])
    world.promote("app:v1")
    assert seen == [["promotion.requested"]]


def test_the_same_again_is_unchanged_and_touches_nothing(world: Any) -> None:
    world.promote("app:v1")
    world.promoter.calls.clear()
    assert world.promote("app:v1").outcome is Outcome.UNCHANGED
    assert world.promoter.calls == ["plan"]
    assert [r["event"] for r in world.records()][-1] == "promotion.unchanged"


def test_another_digest_at_the_destination_is_a_conflict(world: Any) -> None:
    world.shelves["prod"]["app:v1"] = "sha256:zz"
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.CONFLICT
    error = promotion.items[0].error
    assert "sha256:zz" in error.message
    assert "sha256:aa" in error.message
    assert promotion.items[0].digest == "sha256:aa"
    assert world.shelves["prod"]["app:v1"] == "sha256:zz"
    assert world.promoter.calls == ["plan"]


def test_replacing_needs_the_request_and_the_environment(make_world: Any) -> None:
    world = make_world(prod=EnvironmentRules(allow_replace=True))
    world.shelves["prod"]["app:v1"] = "sha256:zz"
    assert world.promote("app:v1").outcome is Outcome.CONFLICT
    assert world.promote("app:v1", on_conflict=OnConflict.REPLACE).outcome is Outcome.PROMOTED
    assert world.shelves["prod"]["app:v1"] == "sha256:aa"
    strict = make_world()
    strict.shelves["prod"]["app:v1"] = "sha256:zz"
    refused = strict.promote("app:v1", on_conflict=OnConflict.REPLACE)
    assert refused.outcome is Outcome.CONFLICT
    assert "does not allow replacing" in refused.items[0].error.fix


def test_two_digests_for_one_tag_at_the_same_moment_one_wins(world: Any) -> None:
    both = threading.Barrier(2)
    world.promoter.on["plan"] = lambda *_: both.wait(10) if len(world.promoter.calls) <= 2 else None
    one = world.engine.start(world.request("app:v1", source="dev"), world.alice)
    two = world.engine.start(world.request("app:v1", source="int"), world.alice)
    outcomes = {world.wait(one.id).outcome, world.wait(two.id).outcome}
    assert outcomes == {Outcome.PROMOTED, Outcome.CONFLICT}
    assert world.shelves["prod"]["app:v1"] in ("sha256:aa", "sha256:cc")


def test_the_second_of_two_equal_promotions_finds_the_work_done(world: Any) -> None:
    both = threading.Barrier(2)
    world.promoter.on["plan"] = lambda *_: both.wait(10) if len(world.promoter.calls) <= 2 else None
    ids = [world.engine.start(world.request("app:v1"), world.alice).id for _ in range(2)]
    outcomes = sorted(world.wait(id).outcome.value for id in ids)
    assert outcomes in (["promoted", "unchanged"], ["promoted", "promoted"])
    assert world.promoter.calls.count("publish") == outcomes.count("promoted")


def test_a_writer_that_slips_in_between_plan_and_publish_is_a_conflict(world: Any) -> None:
    world.promoter.on["stage"] = lambda *_: world.shelves["prod"].update({"app:v1": "sha256:zz"})
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.CONFLICT
    assert world.shelves["prod"]["app:v1"] == "sha256:zz"


def test_what_verification_finds_is_what_counts(world: Any) -> None:
    world.promoter.on["verify"] = lambda *_: world.shelves["prod"].update({"app:v1": "sha256:zz"})
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.FAILED
    assert promotion.items[0].error.reason == "VERIFICATION_FAILED"


def test_a_plugins_bug_is_an_incident_whose_text_stays_in_the_log(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    world.promoter.on["stage"] = explode
    promotion = world.promote("app:v1")
    error = promotion.items[0].error
    assert promotion.outcome is Outcome.FAILED
    assert error.reason == "INTERNAL"
    assert error.id.startswith("in_")
    assert "hunter2" not in error.message + error.fix
    assert "hunter2" not in world.log.read_text()
    assert error.id in caplog.text
    assert "hunter2" in caplog.text


def test_all_items_are_planned_before_any_is_written(world: Any) -> None:
    promotion = world.promote("app:v1", "lib:v1", "gone:v1")
    outcomes = {item.text: item.outcome for item in promotion.items}
    assert outcomes == {
        "app:v1": Outcome.CANCELLED,
        "lib:v1": Outcome.CANCELLED,
        "gone:v1": Outcome.FAILED,
    }
    assert promotion.outcome is Outcome.FAILED
    assert set(world.promoter.calls) == {"plan"}
    assert not world.records("promotion.requested")


def test_several_items_go_together_and_one_failure_leaves_the_others(world: Any) -> None:
    def fail_lib(plan: Any, context: Context) -> None:
        if plan.item.text == "lib:v1":
            raise OSError("no")

    world.promoter.on["stage"] = fail_lib
    promotion = world.promote("app:v1", "lib:v1")
    outcomes = {item.text: item.outcome for item in promotion.items}
    assert outcomes == {"app:v1": Outcome.PROMOTED, "lib:v1": Outcome.FAILED}
    assert promotion.outcome is Outcome.FAILED
    assert world.shelves["prod"] == {"app:v1": "sha256:aa"}


def test_cancelling_stops_before_anything_is_visible(world: Any) -> None:
    staging = threading.Event()

    def hang(plan: Any, context: Context) -> None:
        staging.set()
        context.cancel.wait(30)
        context.check()

    world.promoter.on["stage"] = hang
    started = world.engine.start(world.request("app:v1"), world.alice)
    assert staging.wait(10)
    world.engine.cancel(started.id, world.alice)
    promotion = world.wait(started.id)
    assert promotion.outcome is Outcome.CANCELLED
    assert world.shelves["prod"] == {}
    assert [r["event"] for r in world.records()] == [
        "promotion.requested",
        "promotion.cancel_requested",
        "promotion.cancelled",
    ]


def test_waiting_for_the_lock_can_be_cancelled(world: Any) -> None:
    held = world.held("stage")
    first = world.engine.start(world.request("app:v1"), world.alice)
    assert held.reached.wait(10)
    second = world.engine.start(world.request("app:v1"), world.alice)
    for event in world.engine.watch(second.id, world.alice, threading.Event()):
        if isinstance(event, Progress) and event.phase is Phase.LOCK:
            world.engine.cancel(second.id, world.alice)
    assert world.wait(second.id).outcome is Outcome.CANCELLED
    held.go_on.set()
    assert world.wait(first.id).outcome is Outcome.PROMOTED


def test_what_is_published_can_no_longer_be_cancelled(world: Any) -> None:
    started: list[Promotion] = []
    ready = threading.Event()

    def cancel(plan: Any, context: Context) -> None:
        assert ready.wait(10)
        world.engine.cancel(started[0].id, world.alice)

    world.promoter.on["publish"] = cancel
    started.append(world.engine.start(world.request("app:v1"), world.alice))
    ready.set()
    assert world.wait(started[0].id).outcome is Outcome.PROMOTED


def test_no_free_slot_is_said_at_once(make_world: Any) -> None:
    world = make_world(max_promotions=1)
    go_on = threading.Event()
    world.promoter.on["stage"] = lambda *_: go_on.wait(30)
    first = world.engine.start(world.request("app:v1"), world.alice)
    with pytest.raises(ServerBusy):
        world.engine.start(world.request("lib:v1"), world.alice)
    go_on.set()
    world.wait(first.id)
    assert world.promote("lib:v1").outcome is Outcome.PROMOTED


def test_the_same_request_id_is_the_same_promotion(make_world: Any) -> None:
    world = make_world(max_promotions=2)
    go_on = threading.Event()
    world.promoter.on["stage"] = lambda *_: go_on.wait(30)
    one = world.engine.start(world.request("app:v1", request_id="r1"), world.alice)
    other = world.engine.start(world.request("lib:v1", request_id="r1"), world.bob)
    # No slot is free, and none is needed.
    two = world.engine.start(world.request("app:v1", request_id="r1"), world.alice)
    assert one.id == two.id != other.id
    for ref, more in (("lib:v1", {}), ("app:v1", {"deep": True})):
        asked = world.request(ref, request_id="r1", **more)
        with pytest.raises(RequestError, match="belongs to another request"):
            world.engine.start(asked, world.alice)
    go_on.set()
    world.wait(one.id)
    world.wait(other.id, world.bob)
    assert world.engine.start(world.request("app:v1", request_id="r1"), world.alice).id == one.id


def test_an_artifact_in_two_spellings_is_one(world: Any) -> None:
    with pytest.raises(RequestError, match="image:app:v1 are the same artifact"):
        world.promote("app:v1", "image:app:v1")


def test_draining_lets_the_running_end_and_takes_no_new_ones(world: Any) -> None:
    held = world.held("stage")
    started = world.engine.start(world.request("app:v1", request_id="r1"), world.alice)
    assert held.reached.wait(10)
    drained = threading.Thread(target=world.engine.drain, args=(30,))
    drained.start()
    with pytest.raises(ServerBusy, match="stopping"):
        [world.promote("none:v1") for _ in iter(int, 1)]
    again = world.engine.start(world.request("app:v1", request_id="r1"), world.alice)
    assert again.id == started.id
    held.go_on.set()
    drained.join(10)
    assert world.engine.get(started.id, world.alice).outcome is Outcome.PROMOTED


def test_draining_cancels_what_takes_too_long(world: Any) -> None:
    staging = threading.Event()

    def hang(plan: Any, context: Context) -> None:
        staging.set()
        context.cancel.wait(30)
        context.check()

    world.promoter.on["stage"] = hang
    started = world.engine.start(world.request("app:v1"), world.alice)
    assert staging.wait(10)
    world.engine.drain(0)
    assert world.engine.get(started.id, world.alice).outcome is Outcome.CANCELLED


def test_a_notifier_is_told_and_can_change_nothing(world: Any) -> None:
    hanging = threading.Event()
    world.listener.do = lambda: hanging.wait(30)
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.PROMOTED
    assert not world.listener.told
    hanging.set()
    assert world.listener.heard.wait(10)
    assert world.listener.told == [promotion]


def test_a_notifier_that_raises_is_logged_without_its_text(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def explode() -> None:
        raise RuntimeError("https://hooks.example.com/secret")

    world.listener.do = explode
    assert world.promote("app:v1").outcome is Outcome.PROMOTED
    world.engine.drain(5)
    assert "notifier listener failed" in caplog.text
    assert "secret" not in caplog.text


def test_without_the_audit_log_nothing_is_promoted(world: Any) -> None:
    def fail(*_: object, **__: object) -> str:
        raise world_error

    from imgctl_core.errors import AuditUnavailable

    world_error = AuditUnavailable("the disk is full")
    record = world.audit.record
    world.audit.record = fail
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.FAILED
    assert promotion.items[0].error.reason == "AUDIT_UNAVAILABLE"
    assert promotion.audit_degraded
    assert world.shelves["prod"] == {}
    with pytest.raises(AuditUnavailable):
        world.engine.start(world.request("app:v1"), world.alice)
    world.audit.record = record
    assert world.promote("app:v1").outcome is Outcome.PROMOTED
    events = [r["event"] for r in world.records()]
    assert events == ["promotion.failed", "promotion.requested", "promotion.promoted"]


def test_a_denial_is_recorded_and_says_which_group_would_do(make_world: Any) -> None:
    world = make_world(prod=EnvironmentRules(allowed_groups=("prod",)))
    with pytest.raises(NotAuthorized, match="prod"):
        world.engine.start(world.request("app:v1"), world.alice, Peer("127.0.0.1:1", True, "CN=x"))
    (record,) = world.records("authz.denied")
    assert record["actor"]["sub"] == "alice"
    assert record["refs"] == ["app:v1"]
    assert (record["peer"], record["certificate"]) == ("127.0.0.1:1", "CN=x")
    assert world.promoter.calls == []
    assert world.promote("app:v1", actor=world.carol).outcome is Outcome.PROMOTED


def test_a_promotion_is_seen_by_its_actor_and_by_who_may_promote_there(make_world: Any) -> None:
    world = make_world(prod=EnvironmentRules(allowed_groups=("prod",)))
    started = world.engine.start(world.request("app:v1"), world.carol)
    world.wait(started.id, world.carol)
    for ask in (world.engine.get, world.engine.cancel):
        with pytest.raises(PromotionNotFound):
            ask(started.id, world.bob)
    with pytest.raises(PromotionNotFound):
        next(world.engine.watch(started.id, world.bob, threading.Event()))
    denials = world.records("authz.denied")
    assert [(r["audit_id"], r["actor"]["sub"]) for r in denials] == [(started.id, "bob")] * 3


def test_a_plan_shows_everything_and_writes_nothing(world: Any) -> None:
    from imgctl_core.context import CancelToken

    world.shelves["prod"]["lib:v1"] = "sha256:zz"
    report = world.engine.plan(world.request("app:v1", "lib:v1"), world.alice, CancelToken())
    assert world.shelves["prod"] == {"lib:v1": "sha256:zz"}
    assert report.outcome is Outcome.CONFLICT
    assert {item.text: item.outcome for item in report.items} == {
        "app:v1": Outcome.CANCELLED,
        "lib:v1": Outcome.CONFLICT,
    }
    alone = world.engine.plan(world.request("app:v1"), world.alice, CancelToken())
    assert (alone.outcome, alone.items[0].digest) == (Outcome.PROMOTED, "sha256:aa")
    assert [r["event"] for r in world.records()] == ["plan.made", "plan.made"]


@pytest.mark.parametrize(
    ("refs", "more", "error", "text"),
    [
        ((), {"destination": ""}, MissingEnvironment, "destination"),
        ((), {"source": ""}, MissingEnvironment, "source"),
        ((), {"destination": "prdo"}, EnvironmentNotFound, "prdo"),
        ((), {"destination": "empty"}, EndpointNotFound, "empty"),
        ((), {"destination": "DEV"}, SameEndpoint, "dev"),
        ((), {"destination": "twin"}, SameEndpoint, "one and the same"),
        (("app:v1", "app:v1"), {}, RequestError, "twice"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything(
    world: Any, refs: tuple[str, ...], more: dict[str, str], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        world.engine.start(world.request(*refs, **more), world.alice)
    assert world.promoter.calls == []
    assert world.records() == []


def test_a_misspelt_environment_gets_a_suggestion(world: Any) -> None:
    with pytest.raises(EnvironmentNotFound) as caught:
        world.engine.start(world.request(destination="prdo"), world.alice)
    assert "'prod'" in caught.value.fix


def test_fail_fast_stops_what_is_not_published(world: Any) -> None:
    def stage(plan: Any, context: Context) -> None:
        if plan.item.text == "lib:v1":
            raise OSError("no")
        context.cancel.wait(30)
        context.check()

    world.promoter.on["stage"] = stage
    promotion = world.promote("app:v1", "lib:v1", fail_fast=True)
    outcomes = {item.text: item.outcome for item in promotion.items}
    assert outcomes == {"app:v1": Outcome.CANCELLED, "lib:v1": Outcome.FAILED}
    stopped = next(item for item in promotion.items if item.text == "app:v1")
    assert stopped.error.message == "stopped, since lib:v1 failed"
    assert world.shelves["prod"] == {}


def test_what_a_promoter_notes_is_in_the_result_once(world: Any) -> None:
    world.promoter.on["stage"] = lambda _, context: context.progress.note("a signature is missing")
    world.promoter.on["verify"] = world.promoter.on["stage"]
    promotion = world.promote("app:v1")
    assert promotion.items[0].notes == ("a signature is missing",)


def test_options_reach_the_promoters_that_have_them(world: Any) -> None:
    type(world.promoter).options = {"referrers": ("all", "none")}
    try:
        seen: list[Any] = []
        world.promoter.on["plan"] = lambda item, _: seen.append((item.deep, dict(item.options)))
        world.promote("app:v1", deep=True, options={"referrers": "none"})
        assert seen == [(True, {"referrers": "none"})]
        for options, hint in (({"referers": "all"}, "referrers"), ({"referrers": "al"}, "all")):
            with pytest.raises(RequestError) as caught:
                world.engine.start(world.request("app:v1", options=options), world.alice)
            assert hint in caught.value.fix
    finally:
        del type(world.promoter).options


def test_a_plan_with_something_missing_below_the_right_name_is_work(world: Any) -> None:
    world.promote("app:v1")
    plan = world.promoter.plan
    world.promoter.plan = lambda item, context: replace(plan(item, context), complete=False)
    world.promoter.calls.clear()
    assert world.promote("app:v1").outcome is Outcome.PROMOTED
    assert world.promoter.calls == ["plan", "stage", "publish", "verify"]
