"""Every promotion ends, is recorded and gives its slot back, whatever goes wrong."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import EndpointFailed
from imgctl_core.journal import Journal
from imgctl_core.models import Outcome, Step
from imgctl_core.server import convert


def test_a_plan_with_a_digest_that_is_no_text_ends_and_gives_the_slot_back(
    make_world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(max_promotions=1)
    plan = world.promoter.plan
    for digest in (b"sha256:1", None, "a\nb", "\ud800"):
        world.promoter.plan = lambda item, context, digest=digest: replace(
            plan(item, context), digest=digest
        )
        ended = world.promote("app:v1")
        assert ended.outcome is Outcome.FAILED
        assert ended.items[0].error.reason == "INTERNAL"
    assert "a plan's digests must be text" in caplog.text
    world.promoter.plan = plan
    assert world.promote("app:v1").outcome is Outcome.PROMOTED


def test_an_end_that_can_not_be_recorded_is_an_end(
    make_world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(max_promotions=1)

    def broken(*_: object) -> None:
        raise ValueError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "ended", broken)
        ended = world.promote("app:v1")
    assert (ended.outcome, ended.audit_degraded) == (Outcome.PROMOTED, True)
    assert "its end is not in the audit log" in caplog.text
    assert world.promote("lib:v1").outcome is Outcome.PROMOTED


def test_without_a_thread_there_is_an_end_and_the_slot_is_free(
    make_world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(max_promotions=1)

    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        ended = world.engine.start(world.request("app:v1"), world.alice)
    assert ended.outcome is Outcome.FAILED
    assert "can't start new thread" in caplog.text
    assert world.promote("app:v1").outcome is Outcome.PROMOTED


def test_a_promotion_that_takes_too_long_is_given_up(make_world: Any) -> None:
    world = make_world(promotion_seconds=0.05)

    def slow(plan: Any, context: Context) -> None:
        while True:
            assert context.remaining() is not None
            context.check()

    world.promoter.on["stage"] = slow
    ended = world.promote("app:v1")
    assert ended.items[0].error.reason == "DEADLINE_EXCEEDED"
    assert world.shelves["prod"] == {}


def test_verification_is_not_cut_short_by_the_time(make_world: Any) -> None:
    world = make_world(promotion_seconds=0.2)

    def late(plan: Any, context: Context) -> None:
        assert context.remaining() is None

    def publish(plan: Any, context: Context) -> None:
        until = time.monotonic() + (context.remaining() or 0)
        while time.monotonic() <= until:
            pass

    world.promoter.on |= {"publish": publish, "verify": late}
    assert world.promote("app:v1").outcome is Outcome.PROMOTED


def test_waiting_for_another_one_ends_with_the_time(make_world: Any) -> None:
    world = make_world(promotion_seconds=0.3)
    held = world.held("stage")
    first = world.engine.start(world.request("app:v1"), world.alice)
    assert held.reached.wait(10)
    second = world.promote("app:v1")
    assert second.items[0].error.reason == "DEADLINE_EXCEEDED"
    assert "waited for another one" in second.items[0].error.message
    held.go_on.set()
    world.wait(first.id)


def test_what_was_cancelled_is_never_counted_as_done(world: Any) -> None:
    """One item is there already, and the other one is cancelled."""
    assert world.promote("app:v1").outcome is Outcome.PROMOTED

    def cancel(plan: Any, context: Context) -> None:
        context.cancel.cancel("somebody asked for it")
        context.check()

    world.promoter.on["stage"] = cancel
    ended = world.promote("app:v1", "lib:v1")
    assert [item.outcome for item in ended.items] == [Outcome.UNCHANGED, Outcome.CANCELLED]
    assert ended.outcome is Outcome.CANCELLED
    assert world.records()[-1]["event"] == "promotion.cancelled"


def test_whatever_a_plugin_says_can_be_sent(world: Any) -> None:
    """A lone surrogate in one text would else make all of the answer impossible."""
    odd = "no \ud800 text\nat all"
    plan = world.promoter.plan

    def planned(item: Any, context: Context) -> Any:
        context.progress.say(odd)
        context.progress.note(odd)
        return replace(plan(item, context), steps=(Step(odd, odd),))

    def failed(*_: Any) -> None:
        raise EndpointFailed(odd, fix=odd)

    world.promoter.plan = planned
    report = world.engine.plan(world.request("app:v1"), world.alice, CancelToken())
    assert convert.plan(report).items[0].steps[0].subject == "no \ufffd text at all"
    world.promoter.on["stage"] = failed
    sent = convert.promotion(world.promote("app:v1"))
    assert sent.items[0].error.message == "no \ufffd text at all"
    assert list(sent.items[0].notes) == ["no \ufffd text at all"]
