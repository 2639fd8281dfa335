"""The contracts pass what is right, and fail what is wrong in each of the ways they test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from imgctl_core.context import Context
from imgctl_core.errors import ArtifactNotFound, Conflict, ImgctlError, InvalidReference
from imgctl_core.models import JSON, ArtifactRef, Outcome, Plan, PromotionEvent, PromotionItem
from imgctl_core.promoter import NoSettings
from imgctl_core.testing import (
    FakeEndpoint,
    FakeMailbox,
    FakeNotifier,
    FakePromoter,
    FakeWorld,
    NotifierContract,
    NotifierHarness,
    PromoterContract,
    PromoterHarness,
    RecordingContext,
    sample_event,
)
from imgctl_core.testing.fakes import FakeNotifierSettings

CONTENT = {1: b"the first content of all", 2: b"something else altogether"}
SECRET = "hunter2-hunter2"


class FakeHarness(PromoterHarness):
    reference = "app:v1"
    bad_references = ("app", "App:v1", "app:", "app:v1@sha256:12", "app:v1\n")
    secrets = (SECRET,)

    def __init__(self, base: type[FakePromoter] = FakePromoter) -> None:
        self.world = FakeWorld()
        self.base = base

    def make(self) -> FakePromoter:
        bound = type("Bound", (self.base,), {"world": self.world})
        ends = {name: FakeEndpoint(place=f"place-{name}") for name in ("dev", "prod")}
        promoter: FakePromoter = bound(NoSettings(), ends)
        return promoter

    def seed(self, environment: str, variant: int) -> None:
        self.world.put(f"place-{environment}", "app", "v1", CONTENT[variant])

    def snapshot(self, environment: str) -> Mapping[str, object]:
        return self.world.shown(f"place-{environment}")

    def inventory(self, environment: str) -> object:
        place = self.world.place(f"place-{environment}")
        return (dict(place.shown), dict(place.pieces), dict(place.contents))

    def spoil(self) -> bool:
        pieces = self.world.place("place-dev").pieces
        pieces[next(iter(pieces))] = b"evil"
        return True


class TestFakePromoter(PromoterContract):
    @pytest.fixture
    def harness(self) -> FakeHarness:
        return FakeHarness()


class _Accepts(FakePromoter):
    def parse(self, text: str) -> ArtifactRef:
        return ArtifactRef(self.kind, text, "v1")


class _WrongKind(FakePromoter):
    def parse(self, text: str) -> ArtifactRef:
        ref = super().parse(text)
        return ArtifactRef("image", ref.name, ref.version)


class _Invents(FakePromoter):
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        try:
            return super().plan(item, context)
        except ArtifactNotFound:
            return Plan(item, "sha256:0")


class _PlanWrites(FakePromoter):
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        plan = super().plan(item, context)
        self.world.place("place-prod").pieces["x"] = b""
        return plan


class _KeepsInSelf(FakePromoter):
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        self.source_of_plan = item.source
        return super().plan(item, context)

    def stage(self, plan: Plan, context: Context) -> None:
        assert self.source_of_plan
        super().stage(plan, context)


class _StageShows(FakePromoter):
    def stage(self, plan: Plan, context: Context) -> None:
        super().stage(plan, context)
        super().publish(plan, context)


class _ShowsFirst(FakePromoter):
    def stage(self, plan: Plan, context: Context) -> None:
        super().publish(plan, context)
        super().stage(plan, context)


class _PublishesNothing(FakePromoter):
    def publish(self, plan: Plan, context: Context) -> None:
        pass

    def verify(self, plan: Plan, context: Context) -> str:
        return plan.digest


class _NeverUnchanged(FakePromoter):
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        plan = super().plan(item, context)
        return Plan(item, plan.digest, None, data=plan.data)


class _NeverLooksUp(FakePromoter):
    def stage(self, plan: Plan, context: Context) -> None:
        super().stage(plan, Context(progress=context.progress))


class _Overwrites(FakePromoter):
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        return super().plan(
            PromotionItem(item.text, item.ref, item.source, item.destination, True), context
        )


class _Stubborn(FakePromoter):
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        return super().plan(
            PromotionItem(item.text, item.ref, item.source, item.destination), context
        )


class _Blind(FakePromoter):
    def publish(self, plan: Plan, context: Context) -> None:
        with self.world.lock:
            self.world.place("place-prod").shown["app:v1"] = plan.digest


class _Trusting(FakePromoter):
    def verify(self, plan: Plan, context: Context) -> str:
        return plan.digest


class _Unchecked(FakePromoter):
    def stage(self, plan: Plan, context: Context) -> None:
        source, destination = self._places(plan.item)
        destination.pieces |= source.pieces
        destination.contents |= source.contents


class _CountsTwice(FakePromoter):
    def stage(self, plan: Plan, context: Context) -> None:
        super().stage(plan, context)
        context.progress.copied(1)


class _Talks(FakePromoter):
    def stage(self, plan: Plan, context: Context) -> None:
        context.log.info("logging in with %s", SECRET)
        super().stage(plan, context)


class _Shouts(FakePromoter):
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        try:
            return super().plan(item, context)
        except Conflict as error:
            raise Conflict(f"{error.message} (password {SECRET})") from None


class _ManifestWrites(FakePromoter):
    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        yield {"left": self.world.place("place-prod").pieces.pop("x", None) is None}
        self.world.place("place-prod").pieces["x"] = b""


class _ManifestIsNoJson(FakePromoter):
    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        yield {"pieces": ("a", "b")}  # type: ignore[dict-item]


class _ManifestLooks(FakePromoter):
    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        yield {"there": self.world.place("place-prod").shown.get("app:v1")}


class _ManifestNeedsScratch(FakePromoter):
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        context.scratch["planned"] = True
        return super().plan(item, context)

    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        assert context.scratch["planned"]
        yield from super().manifest(plan, context)


class _ManifestTells(FakePromoter):
    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        yield {"password": SECRET}


class _Resumes(FakePromoter):
    """Takes half an upload that a crash left for a whole one."""

    def stage(self, plan: Plan, context: Context) -> None:
        _, destination = self._places(plan.item)
        if plan.digest in destination.contents:
            return
        destination.contents[plan.digest] = ()
        super().stage(plan, context)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (_Accepts, "test_bad_references_are_refused"),
        (_WrongKind, "test_a_reference_is_of_its_kind"),
        (_Invents, "test_a_missing_source_is_not_found"),
        (_PlanWrites, "test_a_plan_writes_nothing"),
        (_KeepsInSelf, "test_a_plan_is_plain_data"),
        (_StageShows, "test_staging_shows_nothing"),
        (_PublishesNothing, "test_an_artifact_arrives_as_it_was"),
        (_NeverUnchanged, "test_the_second_time_nothing_changes"),
        (_ShowsFirst, "test_a_crash_shows_nothing_and_the_next_try_completes"),
        (_Resumes, "test_a_crash_shows_nothing_and_the_next_try_completes"),
        (_NeverLooksUp, "test_a_crash_shows_nothing_and_the_next_try_completes"),
        (_NeverLooksUp, "test_a_cancelled_promotion_stops"),
        (_ShowsFirst, "test_cancelling_midway_shows_nothing"),
        (_NeverLooksUp, "test_the_deadline_is_kept"),
        (_Overwrites, "test_something_else_at_the_destination_is_a_conflict"),
        (_Stubborn, "test_something_else_can_be_replaced"),
        (_Blind, "test_what_the_plan_did_not_see_is_a_conflict"),
        (_Trusting, "test_the_digest_is_read_at_the_destination"),
        (_Unchecked, "test_wrong_bytes_never_arrive"),
        (_CountsTwice, "test_every_byte_is_counted_once"),
        (_Talks, "test_no_secret_is_told"),
        (_Shouts, "test_no_secret_is_told"),
        (_ManifestWrites, "test_a_manifest_is_plain_data_of_what_was_promoted"),
        (_ManifestIsNoJson, "test_a_manifest_is_plain_data_of_what_was_promoted"),
        (_ManifestLooks, "test_a_manifest_is_plain_data_of_what_was_promoted"),
        (_ManifestNeedsScratch, "test_a_manifest_is_plain_data_of_what_was_promoted"),
        (_ManifestTells, "test_no_secret_is_told"),
    ],
)
def test_a_broken_promoter_fails(broken: type[FakePromoter], test: str) -> None:
    getattr(PromoterContract(), test)(FakeHarness())
    wrong = (AssertionError, pytest.fail.Exception, ImgctlError)
    expected = {_KeepsInSelf: AttributeError, _ManifestNeedsScratch: KeyError}.get(broken, wrong)
    with pytest.raises(expected):
        getattr(PromoterContract(), test)(FakeHarness(broken))


class TestWhatFakesDo:
    def test_steps_can_be_made_to_fail(self) -> None:
        harness = FakeHarness()
        harness.seed("dev", 1)
        harness.world.fail("piece", RuntimeError("no"))
        promoter = harness.make()
        ref = promoter.parse("app:v1")
        plan = promoter.plan(PromotionItem("fake:app:v1", ref, "dev", "prod"), Context())
        with pytest.raises(RuntimeError, match="no"):
            promoter.stage(plan, Context())
        promoter.stage(plan, Context())
        assert harness.world.calls[:4] == ["plan", "stage", "piece", "stage"]

    def test_digests_pin(self) -> None:
        world = FakeWorld()
        digest = world.put("a", "app", "v1", b"one")
        ends = {"dev": FakeEndpoint(place="a"), "prod": FakeEndpoint(place="b")}
        promoter = world.promoter_class("box", "BOX")(NoSettings(), ends)
        assert (promoter.kind, promoter.family, promoter.family_field) == ("box", "BOX", "place")
        item = PromotionItem("", promoter.parse(f"app@{digest}"), "dev", "prod")
        plan = promoter.plan(item, Context())
        promoter.stage(plan, Context())
        promoter.publish(plan, Context())
        assert promoter.verify(plan, Context()) == digest
        assert world.shown("b") == {f"app@{digest}": digest}
        other = promoter.parse("app:v1@sha256:" + "0" * 64)
        with pytest.raises(ArtifactNotFound):
            promoter.plan(PromotionItem("", other, "dev", "prod"), Context())
        with pytest.raises(InvalidReference):
            promoter.parse("app")

    def test_events_of_every_outcome(self) -> None:
        for outcome in Outcome:
            event = sample_event(outcome)
            assert event.promotion.outcome is outcome
            assert (event.promotion.items[0].error is None) == outcome.good


class MailHarness(NotifierHarness):
    secrets = (SECRET,)

    def __init__(self, base: type[FakeNotifier] = FakeNotifier) -> None:
        self.mailbox = FakeMailbox()
        self.base = base

    def make(self) -> FakeNotifier:
        bound = type("Bound", (self.base,), {"mailbox": self.mailbox})
        notifier: FakeNotifier = bound(FakeNotifierSettings(address=f"https://x/{SECRET}"))
        return notifier

    def received(self) -> Sequence[str]:
        return [f"{event!r} by {event.promotion.actor.display}" for event in self.mailbox.events]

    def break_down(self) -> bool:
        def refuse(event: PromotionEvent, context: Context) -> None:
            raise ConnectionError("refused")

        self.mailbox.hooks.append(refuse)
        return True

    def hang(self) -> bool:
        def wait(event: PromotionEvent, context: Context) -> None:
            context.cancel.wait(context.remaining() or 0.0)

        self.mailbox.hooks.append(wait)
        return True


class TestFakeNotifier(NotifierContract):
    @pytest.fixture
    def harness(self) -> MailHarness:
        return MailHarness()


class _Silent(FakeNotifier):
    def notify(self, event: PromotionEvent, context: Context) -> None:
        pass


class _Twice(FakeNotifier):
    def notify(self, event: PromotionEvent, context: Context) -> None:
        super().notify(event, context)
        super().notify(event, context)


class _Blames(FakeNotifier):
    def notify(self, event: PromotionEvent, context: Context) -> None:
        try:
            super().notify(event, context)
        except ConnectionError as error:
            raise ConnectionError(f"{self.settings.address} is down") from error


class _Hangs(FakeNotifier):
    def notify(self, event: PromotionEvent, context: Context) -> None:
        context.cancel.wait(3600)


@pytest.mark.parametrize(
    ("broken", "test", "arguments"),
    [
        (_Silent, "test_it_tells_once_and_all", ()),
        (_Twice, "test_it_tells_once_and_all", ()),
        (_Silent, "test_every_outcome_can_be_told", (Outcome.FAILED,)),
        (_Twice, "test_hostile_names_are_told_as_text", ()),
        (_Blames, "test_failures_tell_no_secret", ()),
        (_Hangs, "test_the_deadline_is_kept", ()),
    ],
)
def test_a_broken_notifier_fails(
    broken: type[FakeNotifier],
    test: str,
    arguments: tuple[Any, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imgctl_core.testing.notifier_contract._PATIENCE", 1.0)
    getattr(NotifierContract(), test)(MailHarness(), *arguments)
    with pytest.raises(AssertionError):
        getattr(NotifierContract(), test)(MailHarness(broken), *arguments)


def test_a_recording_context_keeps_what_is_said() -> None:
    context = RecordingContext()
    context.log.warning("log %s", "line")
    context.progress.say("message")
    context.progress.copied(5)
    assert context.lines == ["log line", "message"]
    assert context.counted.bytes_copied == 5
