"""The promises of every promoter, as tests that its author gets for free.

class FolderHarness(PromoterHarness): ...

class TestFolderPromoter(PromoterContract):
@pytest.fixture
def harness(self, tmp_path):
return FolderHarness(tmp_path)
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import (
    ArtifactNotFound,
    Cancelled,
    Conflict,
    DeadlineExceeded,
    ImgctlError,
    InvalidReference,
)
from imgctl_core.models import JSON, Plan, PromotionItem
from imgctl_core.promoter import Promoter
from imgctl_core.testing.harness import PromoterHarness
from imgctl_core.testing.recording import RecordingContext, cancelled_context

_MOST_CRASHES = 12


class PromoterContract:
    """Subclass it under a name that begins with Test, and give it the `harness` fixture."""

    @pytest.fixture
    def harness(self) -> PromoterHarness:
        raise NotImplementedError("give your subclass of PromoterContract a `harness` fixture")

    def test_bad_references_are_refused(self, harness: PromoterHarness) -> None:
        with _made(harness) as promoter:
            for text in ("", *harness.bad_references):
                with pytest.raises(InvalidReference):
                    promoter.parse(text)

    def test_a_reference_is_of_its_kind(self, harness: PromoterHarness) -> None:
        with _made(harness) as promoter:
            ref = promoter.parse(harness.reference)
            assert ref.kind == promoter.kind
            assert ref.name, "a reference names something: rules are matched against it"
            assert ref == promoter.parse(harness.reference)

    def test_a_missing_source_is_not_found(self, harness: PromoterHarness) -> None:
        before = harness.inventory(harness.destination)
        with _made(harness) as promoter, pytest.raises(ArtifactNotFound):
            _plan(harness, promoter)
        assert harness.inventory(harness.destination) == before

    def test_a_plan_writes_nothing(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        before = _both(harness)
        with _made(harness) as promoter:
            plan = _plan(harness, promoter)
        assert _both(harness) == before, "plan changed something"
        assert plan.digest
        assert plan.current is None, "the destination holds nothing under this name"
        assert not plan.unchanged

    def test_a_plan_is_plain_data(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        with _made(harness) as promoter:
            plan = _plan(harness, promoter)
        saved = replace(plan, data=json.loads(json.dumps(dict(plan.data))))
        with _made(harness) as promoter:
            _carry_out(promoter, saved)
        assert harness.snapshot(harness.destination) == harness.snapshot(harness.source)

    def test_staging_shows_nothing(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        before = harness.snapshot(harness.destination)
        with _made(harness) as promoter:
            promoter.stage(_plan(harness, promoter), RecordingContext())
        assert harness.snapshot(harness.destination) == before, "stage showed something"

    def test_an_artifact_arrives_as_it_was(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        before = harness.inventory(harness.source)
        with _made(harness) as promoter:
            plan = _promote(harness, promoter)
        arrived = harness.snapshot(harness.destination)
        assert arrived, "nothing is at the destination"
        assert arrived == harness.snapshot(harness.source)
        assert harness.inventory(harness.source) == before, "the source was changed"
        assert plan.digest

    def test_the_second_time_nothing_changes(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        with _made(harness) as promoter:
            first = _promote(harness, promoter)
            before = harness.inventory(harness.destination)
            again = _plan(harness, promoter)
            assert again.unchanged, "the same promotion again must be planned as unchanged"
            assert again.digest == first.digest
            _carry_out(promoter, first)
        assert harness.inventory(harness.destination) == before, "the second time changed it"

    def test_a_crash_shows_nothing_and_the_next_try_completes(
        self, harness: PromoterHarness
    ) -> None:
        harness.seed(harness.source, 1)
        before = harness.snapshot(harness.destination)
        for crash_at in range(1, _MOST_CRASHES + 1):
            with _made(harness) as promoter:
                context = RecordingContext(crash_at=crash_at)
                plan = _plan(harness, promoter)
                assert not plan.unchanged, "a promotion that crashed counts as done"
                crashed = False
                try:
                    promoter.stage(plan, context)
                except Exception:  # noqa: BLE001 - the last words of a dying process
                    crashed = True
            assert context.checks, "stage never calls context.check()"
            assert harness.snapshot(harness.destination) == before, "a crash showed something"
            if not crashed:
                break
        with _made(harness) as promoter:
            _promote(harness, promoter)
        assert harness.snapshot(harness.destination) == harness.snapshot(harness.source)

    def test_a_cancelled_promotion_stops(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        before = harness.snapshot(harness.destination)
        with _made(harness) as promoter:
            plan = _plan(harness, promoter)
            with pytest.raises(Cancelled):
                promoter.stage(plan, cancelled_context())
            assert harness.snapshot(harness.destination) == before
            _promote(harness, promoter)

    def test_cancelling_midway_shows_nothing(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        before = harness.snapshot(harness.destination)
        token = CancelToken()
        with _made(harness) as promoter:
            plan = _plan(harness, promoter)
            # The last bytes may be the ones that cancel: then stage may end in peace.
            with suppress(Cancelled):
                promoter.stage(plan, RecordingContext(cancel=token, on_bytes=token.cancel))
        assert harness.snapshot(harness.destination) == before

    def test_the_deadline_is_kept(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        with _made(harness) as promoter:
            plan = _plan(harness, promoter)
            with pytest.raises(DeadlineExceeded):
                promoter.stage(plan, RecordingContext(deadline=time.monotonic() - 1))

    def test_something_else_at_the_destination_is_a_conflict(
        self, harness: PromoterHarness
    ) -> None:
        harness.seed(harness.source, 1)
        harness.seed(harness.destination, 2)
        before = _both(harness)
        with _made(harness) as promoter, pytest.raises(Conflict):
            _plan(harness, promoter)
        assert _both(harness) == before, "a conflict wrote something"

    def test_something_else_can_be_replaced(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        harness.seed(harness.destination, 2)
        with _made(harness) as promoter:
            plan = _promote(harness, promoter, replace=True)
        assert plan.current not in (None, plan.digest), "the plan must say what it replaces"
        assert harness.snapshot(harness.destination) == harness.snapshot(harness.source)

    def test_what_the_plan_did_not_see_is_a_conflict(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        with _made(harness) as promoter:
            plan = _plan(harness, promoter)
            promoter.stage(plan, RecordingContext())
            harness.seed(harness.destination, 2)
            before = harness.snapshot(harness.destination)
            with pytest.raises(Conflict):
                promoter.publish(plan, RecordingContext())
        assert harness.snapshot(harness.destination) == before, "it was overwritten"

    def test_the_digest_is_read_at_the_destination(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        with _made(harness) as promoter:
            plan = _promote(harness, promoter)
            harness.seed(harness.destination, 2)
            with suppress(ImgctlError):
                found = promoter.verify(plan, RecordingContext())
                assert found != plan.digest, "verify did not look at the destination"

    def test_wrong_bytes_never_arrive(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        before = harness.snapshot(harness.destination)
        with _made(harness) as promoter:
            plan = _plan(harness, promoter)
            if not harness.spoil():
                pytest.skip("these bytes never pass by the promoter")
            with pytest.raises(ImgctlError):
                _carry_out(promoter, plan)
        assert harness.snapshot(harness.destination) == before, "wrong bytes were shown"

    def test_every_byte_is_counted_once(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        context = RecordingContext()
        with _made(harness) as promoter:
            _carry_out(promoter, _plan(harness, promoter), context)
        seen = context.counted
        assert seen.bytes_total > 0, "stage must say how many bytes there are"
        counted = seen.bytes_copied + seen.bytes_present + seen.bytes_mounted
        assert counted == seen.bytes_total

    def test_a_manifest_is_plain_data_of_what_was_promoted(self, harness: PromoterHarness) -> None:
        harness.seed(harness.source, 1)
        context = RecordingContext()
        with _made(harness) as promoter:
            plan = _plan(harness, promoter, context=context)
            before = _both(harness)
            _manifest(promoter, plan, context)
            assert _both(harness) == before, "the manifest of a plan wrote something"
            _carry_out(promoter, plan, context)
            before = _both(harness)
            kept = _manifest(promoter, plan, context)
            assert _both(harness) == before, "the manifest wrote something"
            harness.seed(harness.destination, 2)
            again = _manifest(promoter, plan, context)
            assert again == kept, "the manifest looked again, or has no fixed order"
        with _made(harness) as promoter:
            _manifest(promoter, plan, RecordingContext())

    def test_no_secret_is_told(self, harness: PromoterHarness) -> None:
        if not harness.secrets:
            pytest.skip("this harness has no secrets")
        harness.seed(harness.source, 1)
        context = RecordingContext()
        told: list[str] = []
        with _made(harness) as promoter:
            plan = _plan(harness, promoter, context=context)
            _carry_out(promoter, plan, context)
            told += [repr(plan), json.dumps(dict(plan.data))]
            told += [json.dumps(row) for row in _manifest(promoter, plan, context)]
            told += [promoter.describe(endpoint) for endpoint in promoter.endpoints.values()]
            harness.seed(harness.destination, 2)
            with pytest.raises(Conflict) as caught:
                _plan(harness, promoter, context=context)
            told += [caught.value.message, caught.value.fix, repr(caught.value)]
        told += [repr(context.counted), *context.lines]
        for secret in harness.secrets:
            assert not any(secret in text for text in told), "a secret was told"


@contextmanager
def _made(harness: PromoterHarness) -> Iterator[Promoter[Any, Any]]:
    promoter = harness.make()
    try:
        yield promoter
    finally:
        promoter.close()


def _plan(
    harness: PromoterHarness,
    promoter: Promoter[Any, Any],
    *,
    replace: bool = False,
    context: Context | None = None,
) -> Plan:
    text = f"{promoter.kind}:{harness.reference}"
    ref = promoter.parse(harness.reference)
    item = PromotionItem(text, ref, harness.source, harness.destination, replace)
    return promoter.plan(item, context or RecordingContext())


def _carry_out(promoter: Promoter[Any, Any], plan: Plan, context: Context | None = None) -> None:
    used = context or RecordingContext()
    promoter.stage(plan, used)
    promoter.publish(plan, used)
    assert promoter.verify(plan, used) == plan.digest, "verify found another digest"


def _manifest(promoter: Promoter[Any, Any], plan: Plan, context: Context) -> list[dict[str, JSON]]:
    rows = [dict(row) for row in promoter.manifest(plan, context)]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows, "a row is no JSON"
    return rows


def _promote(
    harness: PromoterHarness, promoter: Promoter[Any, Any], *, replace: bool = False
) -> Plan:
    plan = _plan(harness, promoter, replace=replace)
    _carry_out(promoter, plan)
    return plan


def _both(harness: PromoterHarness) -> tuple[object, object]:
    return harness.inventory(harness.source), harness.inventory(harness.destination)
