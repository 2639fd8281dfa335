"""The activators' contract passes what is right, and fails what is wrong in each way."""

from __future__ import annotations

from typing import Any

import pytest

from imgctl_core.context import Context
from imgctl_core.errors import ArtifactNotFound, Conflict, ImgctlError
from imgctl_core.models import ArtifactRef, Plan, PromotionItem
from imgctl_core.promoter import NoSettings
from imgctl_core.testing import (
    ActivatorContract,
    ActivatorHarness,
    FakeActivator,
    FakeEndpoint,
    FakePlace,
    FakeWorld,
)

PLACE = "place-prod"


class FakeActivatorHarness(ActivatorHarness):
    name = "app"
    versions = ("app:v1", "app:v2")
    bad_names = ("App", "app:", "app\n")

    def __init__(self, base: type[FakeActivator] = FakeActivator) -> None:
        self.world = FakeWorld()
        self.base = base

    def make(self) -> FakeActivator:
        bound = type("Bound", (self.base,), {"world": self.world})
        promoter: FakeActivator = bound(NoSettings(), {"prod": FakeEndpoint(place=PLACE)})
        return promoter

    def seed(self, reference: str) -> None:
        name, _, version = reference.partition(":")
        self.world.put(PLACE, name, version, f"the content of {version}".encode())

    def live(self) -> object:
        return self.world.live(PLACE, self.name)

    def inventory(self) -> object:
        place = self.world.place(PLACE)
        return (dict(place.shown), dict(place.pieces), dict(place.live))

    def spoil(self, reference: str) -> bool:
        place = self.world.place(PLACE)
        other = next(text for text in self.versions if text != reference)
        others = place.contents[place.shown[other]]
        pieces = place.contents[place.shown[reference]]
        del place.pieces[next(piece for piece in pieces if piece not in others)]
        return True


class TestFakeActivator(ActivatorContract):
    @pytest.fixture
    def harness(self) -> FakeActivatorHarness:
        return FakeActivatorHarness()


class _TakesVersions(FakeActivator):
    def parse_name(self, text: str) -> ArtifactRef:
        return ArtifactRef(self.kind, text.partition(":")[0])


class _Renames(FakeActivator):
    def parse_name(self, text: str) -> ArtifactRef:
        return ArtifactRef(self.kind, super().parse_name(text).name + "-live")


class _Invents(FakeActivator):
    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        try:
            return super().plan_activation(item, context)
        except ArtifactNotFound:
            return Plan(PromotionItem("", ArtifactRef("fake", "app", "v1"), "", ""), "sha256:0")


class _PlanWrites(FakeActivator):
    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        plan = super().plan_activation(item, context)
        self.world.make_live(PLACE, "app", str(plan.item.ref.version))
        return plan


class _KeepsInSelf(FakeActivator):
    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        self.planned = super().plan_activation(item, context)
        return self.planned

    def activate(self, plan: Plan, context: Context) -> None:
        assert self.planned.digest == plan.digest
        super().activate(plan, context)


class _SwitchesNothing(FakeActivator):
    def activate(self, plan: Plan, context: Context) -> None:
        pass

    def verify_activation(self, plan: Plan, context: Context) -> str:
        return plan.digest


class _SaysNothingIsLive(FakeActivator):
    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        plan = super().plan_activation(item, context)
        return Plan(plan.item, plan.digest, None)


class _NamesNoVersion(FakeActivator):
    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        plan = super().plan_activation(item, context)
        return Plan(item, plan.digest, plan.current, plan.complete)


class _ForgetsTheWayBack(FakeActivator):
    def activate(self, plan: Plan, context: Context) -> None:
        self.world.make_live(PLACE, "app", str(plan.item.ref.version))


class _Trusting(FakeActivator):
    def verify_activation(self, plan: Plan, context: Context) -> str:
        return plan.digest


class _TakesDownFirst(FakeActivator):
    def activate(self, plan: Plan, context: Context) -> None:
        place = self.world.place(PLACE)
        history = place.live.pop("app", ())
        context.check()
        place.live["app"] = history
        super().activate(plan, context)


class _LooksAtNothing(FakeActivator):
    def _place(self) -> FakePlace:
        return self.world.place(PLACE)

    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        place = self._place()
        history = place.live.get("app", ())
        version = item.ref.version or history[-2]
        ref = ArtifactRef("fake", "app", version)
        current = self._live(place, ref)
        return Plan(PromotionItem("", ref, "prod", "prod"), place.shown[str(ref)], current)

    def verify_activation(self, plan: Plan, context: Context) -> str:
        return self._live(self._place(), plan.item.ref) or ""


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (_TakesVersions, "test_bad_names_are_refused"),
        (_Renames, "test_a_name_is_that_of_its_versions"),
        (_Invents, "test_a_missing_version_is_not_found"),
        (_Invents, "test_without_one_before_there_is_no_way_back"),
        (_PlanWrites, "test_a_plan_writes_nothing"),
        (_KeepsInSelf, "test_a_plan_is_plain_data"),
        (_SwitchesNothing, "test_a_version_goes_live"),
        (_SaysNothingIsLive, "test_another_version_takes_its_place"),
        (_SaysNothingIsLive, "test_the_second_time_nothing_changes"),
        (_NamesNoVersion, "test_the_one_before_goes_live_again"),
        (_ForgetsTheWayBack, "test_asking_twice_keeps_the_way_back"),
        (_ForgetsTheWayBack, "test_what_the_plan_did_not_see_is_a_conflict"),
        (_Trusting, "test_the_digest_is_read_again"),
        (_TakesDownFirst, "test_a_crash_leaves_one_of_the_two_and_the_next_try_completes"),
        (_LooksAtNothing, "test_a_version_that_is_not_whole_never_goes_live"),
    ],
)
def test_a_broken_activator_fails(broken: type[FakeActivator], test: str) -> None:
    check: Any = getattr(ActivatorContract(), test)
    check(FakeActivatorHarness())
    wrong = (AssertionError, AttributeError, pytest.fail.Exception, ImgctlError)
    with pytest.raises(wrong):
        check(FakeActivatorHarness(broken))


def test_what_the_fake_does_not_see_is_not_replaced() -> None:
    harness = FakeActivatorHarness()
    for reference in harness.versions:
        harness.seed(reference)
    promoter = harness.make()
    item = PromotionItem("fake:app:v1", promoter.parse("app:v1"), "prod", "prod")
    plan = promoter.plan_activation(item, Context())
    harness.world.make_live(PLACE, "app", "v2")
    with pytest.raises(Conflict, match="v2"):
        promoter.activate(plan, Context())
    assert harness.world.calls == ["plan_activation", "activate"]
