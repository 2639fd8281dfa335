"""The promises of every promoter that makes versions live, as tests for its author.

A subclass stands beside that of PromoterContract:

    class TestFolderActivator(ActivatorContract):
        @pytest.fixture
        def harness(self, tmp_path):
            return FolderActivatorHarness(tmp_path)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from imgctl_core.activator import Activator
from imgctl_core.context import Context
from imgctl_core.errors import ArtifactNotFound, Conflict, ImgctlError, InvalidReference
from imgctl_core.models import Plan, PromotionItem
from imgctl_core.promoter import Promoter
from imgctl_core.testing.harness import ActivatorHarness
from imgctl_core.testing.recording import RecordingContext, SimulatedCrash

_MOST_CRASHES = 12


class ActivatorContract:
    """Subclass it under a name that begins with Test, and give it the `harness` fixture."""

    @pytest.fixture
    def harness(self) -> ActivatorHarness:
        raise NotImplementedError("give your subclass of ActivatorContract a `harness` fixture")

    def test_bad_names_are_refused(self, harness: ActivatorHarness) -> None:
        with _made(harness) as promoter:
            for text in ("", *harness.bad_names, *harness.versions):
                with pytest.raises(InvalidReference):
                    _activator(promoter).parse_name(text)

    def test_a_name_is_that_of_its_versions(self, harness: ActivatorHarness) -> None:
        with _made(harness) as promoter:
            named = _activator(promoter).parse_name(harness.name)
            assert named.kind == promoter.kind
            assert named.version is None, "a name alone says no version"
            for text in harness.versions:
                assert promoter.parse(text).name == named.name
                assert promoter.parse(text).version, "what can go live has a version"

    def test_a_missing_version_is_not_found(self, harness: ActivatorHarness) -> None:
        before = harness.inventory()
        with _made(harness) as promoter, pytest.raises(ArtifactNotFound):
            _plan(harness, promoter, harness.versions[0])
        assert harness.inventory() == before

    def test_without_one_before_there_is_no_way_back(self, harness: ActivatorHarness) -> None:
        first, second = _seed(harness)
        with _made(harness) as promoter:
            with pytest.raises(ArtifactNotFound):
                _plan(harness, promoter)
            _go_live(harness, promoter, first)
            with pytest.raises(ArtifactNotFound):
                _plan(harness, promoter)
            _go_live(harness, promoter, second)
            _plan(harness, promoter)

    def test_a_plan_writes_nothing(self, harness: ActivatorHarness) -> None:
        first, _ = _seed(harness)
        before = harness.inventory(), harness.live()
        with _made(harness) as promoter:
            plan = _plan(harness, promoter, first)
        assert (harness.inventory(), harness.live()) == before, "plan changed something"
        assert plan.digest
        assert plan.current is None, "nothing is live"
        assert not plan.unchanged

    def test_a_plan_is_plain_data(self, harness: ActivatorHarness) -> None:
        first, _ = _seed(harness)
        with _made(harness) as promoter:
            plan = _plan(harness, promoter, first)
        saved = replace(plan, data=json.loads(json.dumps(dict(plan.data))))
        with _made(harness) as promoter:
            _carry_out(promoter, saved)
        assert harness.live() is not None

    def test_a_version_goes_live(self, harness: ActivatorHarness) -> None:
        first, _ = _seed(harness)
        assert harness.live() is None, "the harness begins with nothing live"
        with _made(harness) as promoter:
            _go_live(harness, promoter, first)
        assert harness.live() is not None, "nothing is live"

    def test_another_version_takes_its_place(self, harness: ActivatorHarness) -> None:
        first, second = _seed(harness)
        with _made(harness) as promoter:
            before = _go_live(harness, promoter, first)
            shown = harness.live()
            plan = _go_live(harness, promoter, second)
        assert plan.current == before.digest, "the plan must say what is live now"
        assert plan.digest != before.digest
        assert harness.live() not in (None, shown)

    def test_the_second_time_nothing_changes(self, harness: ActivatorHarness) -> None:
        first, _ = _seed(harness)
        with _made(harness) as promoter:
            plan = _go_live(harness, promoter, first)
            shown = harness.live()
            again = _plan(harness, promoter, first)
            assert again.unchanged, "what is live must be planned as unchanged"
            assert again.digest == plan.digest
            _carry_out(promoter, plan)
        assert harness.live() == shown, "the second time changed it"

    def test_the_one_before_goes_live_again(self, harness: ActivatorHarness) -> None:
        first, second = _seed(harness)
        with _made(harness) as promoter:
            before = _go_live(harness, promoter, first)
            shown = harness.live()
            _go_live(harness, promoter, second)
        with _made(harness) as promoter:
            plan = _go_live(harness, promoter)
            version = promoter.parse(first).version
        assert plan.item.ref.version == version, "the plan must name the version it found"
        assert plan.digest == before.digest
        assert harness.live() == shown

    def test_asking_twice_keeps_the_way_back(self, harness: ActivatorHarness) -> None:
        first, second = _seed(harness)
        with _made(harness) as promoter:
            before = _go_live(harness, promoter, first)
            _carry_out(promoter, _go_live(harness, promoter, second))
            assert _plan(harness, promoter).digest == before.digest

    def test_what_the_plan_did_not_see_is_a_conflict(self, harness: ActivatorHarness) -> None:
        first, second = _seed(harness)
        with _made(harness) as promoter:
            plan = _plan(harness, promoter, first)
            with _made(harness) as somebody:
                _go_live(harness, somebody, second)
            shown = harness.live()
            with pytest.raises(Conflict):
                _activator(promoter).activate(plan, RecordingContext())
        assert harness.live() == shown, "what somebody else made live was replaced"

    def test_the_digest_is_read_again(self, harness: ActivatorHarness) -> None:
        first, second = _seed(harness)
        with _made(harness) as promoter:
            plan = _go_live(harness, promoter, first)
            with _made(harness) as somebody:
                _go_live(harness, somebody, second)
            with suppress(ImgctlError):
                found = _activator(promoter).verify_activation(plan, RecordingContext())
                assert found != plan.digest, "verify_activation did not look"

    def test_a_crash_leaves_one_of_the_two_and_the_next_try_completes(
        self, harness: ActivatorHarness
    ) -> None:
        first, second = _seed(harness)
        with _made(harness) as promoter:
            before = _go_live(harness, promoter, first)
            first_shown = harness.live()
            after = _go_live(harness, promoter, second)
            second_shown = harness.live()
            _go_live(harness, promoter, first)
        for crash_at in range(1, _MOST_CRASHES + 1):
            with _made(harness) as promoter:
                plan = _plan(harness, promoter, second)
                with suppress(SimulatedCrash):
                    _activator(promoter).activate(plan, RecordingContext(crash_at=crash_at))
            assert harness.live() in (first_shown, second_shown), "a crash showed something else"
            with _made(harness) as promoter:
                plan = _go_live(harness, promoter, second)
                assert (plan.digest, harness.live()) == (after.digest, second_shown)
                assert _go_live(harness, promoter, first).digest == before.digest

    def test_a_version_that_is_not_whole_never_goes_live(self, harness: ActivatorHarness) -> None:
        first, second = _seed(harness)
        if not harness.spoil(second):
            pytest.skip("a version of this kind can't be there in part")
        with _made(harness) as promoter:
            _go_live(harness, promoter, first)
            shown = harness.live()
            with pytest.raises(ImgctlError):
                _go_live(harness, promoter, second)
        assert harness.live() == shown, "a part of a version went live"


@contextmanager
def _made(harness: ActivatorHarness) -> Iterator[Promoter[Any, Any]]:
    promoter = harness.make()
    try:
        yield promoter
    finally:
        promoter.close()


def _activator(promoter: Promoter[Any, Any]) -> Activator:
    assert isinstance(promoter, Activator), "a promoter that is no Activator can't pass"
    return promoter


def _seed(harness: ActivatorHarness) -> tuple[str, str]:
    for reference in harness.versions:
        harness.seed(reference)
    return harness.versions


def _plan(
    harness: ActivatorHarness,
    promoter: Promoter[Any, Any],
    reference: str | None = None,
    context: Context | None = None,
) -> Plan:
    """Plan to make a version live, or the one before when none is named."""
    activator = _activator(promoter)
    ref = activator.parse_name(harness.name) if reference is None else promoter.parse(reference)
    text = f"{promoter.kind}:{reference or harness.name}"
    item = PromotionItem(text, ref, harness.environment, harness.environment)
    plan = activator.plan_activation(item, context or RecordingContext())
    assert plan.item.ref.version, "the plan's item must name the version"
    assert plan.item.ref.name == ref.name
    return plan


def _carry_out(promoter: Promoter[Any, Any], plan: Plan) -> None:
    activator = _activator(promoter)
    activator.activate(plan, RecordingContext())
    found = activator.verify_activation(plan, RecordingContext())
    assert found == plan.digest, "verify_activation found another digest"


def _go_live(
    harness: ActivatorHarness, promoter: Promoter[Any, Any], reference: str | None = None
) -> Plan:
    plan = _plan(harness, promoter, reference)
    _carry_out(promoter, plan)
    return plan
