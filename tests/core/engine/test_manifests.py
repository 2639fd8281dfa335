"""What a promotion leaves on record of its parts, and what it lets go of."""

from __future__ import annotations

import gc
import hashlib
import json
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from imgctl_core.auth.policy import EnvironmentRules
from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import Cancelled, ManifestNotFound, NotAuthorized, PromotionNotFound
from imgctl_core.manifest import MAX_ROW, Manifest, line
from imgctl_core.models import JSON, ManifestRow, Outcome, Phase, Plan, Progress

ROWS: tuple[dict[str, JSON], ...] = (
    {"key": "index.html", "size": 3},
    {"size": 7, "key": "kä\u2028se.js", "etag": None},
)
LINES = (r'{"key":"index.html","size":3}', r'{"etag":null,"key":"k\u00e4\u2028se.js","size":7}')
DIGEST = "sha256:" + hashlib.sha256("".join(f"{text}\n" for text in LINES).encode()).hexdigest()


class TestRecord:
    def test_rows_come_back_as_they_went_in(self) -> None:
        manifest = Manifest.of(ROWS)
        assert manifest is not None
        assert tuple(manifest.lines()) == LINES
        assert (manifest.rows, manifest.digest) == (2, DIGEST)

    def test_many_rows_are_kept_small_and_come_back_one_by_one(self) -> None:
        rows = [{"key": f"assets/{number:06}.js", "state": "copied"} for number in range(30_000)]
        manifest = Manifest.of(iter(rows))
        assert manifest is not None
        assert [json.loads(text) for text in manifest.lines()] == rows
        assert len(manifest.packed) < sum(map(len, manifest.lines())) / 4

    def test_no_rows_are_no_manifest(self) -> None:
        assert Manifest.of([]) is None

    @pytest.mark.parametrize(
        "row",
        [{"a": float("nan")}, {"a": b"x"}, {"a": {1, 2}}, {"a": "x" * MAX_ROW}, ["no", "row"]],
    )
    def test_what_is_no_row_is_refused(self, row: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            line(row)


class TestKeeping:
    def test_a_promotion_has_one_and_its_digest_is_in_the_audit_log(self, world: Any) -> None:
        world.promoter.rows = ROWS
        promotion = world.promote("app:v1")
        (item,) = promotion.items
        assert (item.outcome, item.manifest_rows) == (Outcome.PROMOTED, 2)
        found = list(world.engine.manifest(promotion.id, world.alice))
        assert found == [ManifestRow("app:v1", text) for text in LINES]
        (record,) = world.records("promotion.promoted")
        (recorded,) = record["items"]
        saved = "".join(f"{row.json}\n" for row in found).encode()
        assert recorded["manifest_digest"] == f"sha256:{hashlib.sha256(saved).hexdigest()}"
        assert recorded["manifest_digest"] == item.manifest_digest == DIGEST
        assert recorded["manifest_rows"] == 2

    def test_it_is_read_after_everything_is_verified(self, world: Any) -> None:
        world.promoter.on["manifest"] = lambda *_: world.promoter.calls.append("manifest")
        world.promote("app:v1")
        assert world.promoter.calls == ["plan", "stage", "publish", "verify", "manifest"]

    def test_one_that_was_there_already_has_one_too(self, world: Any) -> None:
        world.promote("app:v1")
        world.promoter.rows = ROWS
        promotion = world.promote("app:v1")
        assert promotion.outcome is Outcome.UNCHANGED
        assert len(list(world.engine.manifest(promotion.id, world.alice))) == 2
        assert world.records("promotion.unchanged")[0]["items"][0]["manifest_digest"] == DIGEST

    def test_a_kind_without_parts_has_none(self, world: Any) -> None:
        promotion = world.promote("app:v1")
        assert (promotion.items[0].manifest_rows, promotion.items[0].manifest_digest) == (0, "")
        assert "manifest_rows" not in world.records("promotion.promoted")[0]["items"][0]
        with pytest.raises(ManifestNotFound, match="no manifest of app:v1") as caught:
            world.engine.manifest(promotion.id, world.alice)
        assert "lists no parts" in caught.value.fix

    @pytest.mark.parametrize("good_rows", [0, 1])
    def test_a_manifest_that_breaks_undoes_nothing(
        self, world: Any, caplog: pytest.LogCaptureFixture, good_rows: int
    ) -> None:
        def rows() -> Iterator[Any]:
            yield from ROWS[:good_rows]
            raise RuntimeError("password=hunter2")

        world.promoter.rows = rows()
        promotion = world.promote("app:v1")
        (item,) = promotion.items
        assert (promotion.outcome, item.outcome) == (Outcome.PROMOTED, Outcome.PROMOTED)
        assert item.error is None
        assert item.notes == ("there is no manifest of it: the server's log says why",)
        assert item.manifest_rows == 0
        assert "hunter2" in caplog.text
        assert promotion.id in caplog.text
        assert "hunter2" not in world.log.read_text()
        with pytest.raises(ManifestNotFound, match="no manifest of app:v1"):
            world.engine.manifest(promotion.id, world.alice)

    def test_a_row_that_is_no_json_undoes_nothing(self, world: Any) -> None:
        world.promoter.rows = [{"key": object()}]
        promotion = world.promote("app:v1")
        assert promotion.outcome is Outcome.PROMOTED
        assert len(promotion.items[0].notes) == 1

    def test_a_cancel_that_comes_after_publishing_does_not_stop_it(self, world: Any) -> None:
        promotions: list[str] = []
        known = threading.Event()

        def cancel(plan: Any, context: Context) -> None:
            assert known.wait(10)
            world.engine.cancel(promotions[0], world.alice)

        world.promoter.rows = ROWS
        world.promoter.on["publish"] = cancel
        world.promoter.on["manifest"] = lambda _, context: context.check()
        promotions.append(world.engine.start(world.request("app:v1"), world.alice).id)
        known.set()
        promotion = world.wait(promotions[0])
        assert (promotion.outcome, promotion.items[0].manifest_rows) == (Outcome.PROMOTED, 2)


class TestAsking:
    def test_of_several_items_all_or_one(self, world: Any) -> None:
        world.promoter.rows = ROWS
        promotion = world.promote("app:v1", "lib:v1")
        every = [row.text for row in world.engine.manifest(promotion.id, world.alice)]
        assert every == ["app:v1", "app:v1", "lib:v1", "lib:v1"]
        one = [row.text for row in world.engine.manifest(promotion.id, world.alice, "lib:v1")]
        assert one == ["lib:v1", "lib:v1"]
        with pytest.raises(ManifestNotFound, match="no item 'lib:v2'") as caught:
            world.engine.manifest(promotion.id, world.alice, "lib:v2")
        assert "'lib:v1'" in caught.value.fix

    def test_before_its_end_there_is_none(self, world: Any) -> None:
        held = world.held("stage")
        started = world.engine.start(world.request("app:v1"), world.alice)
        assert held.reached.wait(10)
        with pytest.raises(ManifestNotFound, match="has not ended") as caught:
            world.engine.manifest(started.id, world.alice)
        assert f"imgctl watch {started.id}" in caught.value.fix
        held.go_on.set()
        world.wait(started.id)

    def test_what_failed_has_none(self, world: Any) -> None:
        world.promoter.rows = ROWS
        world.shelves["prod"]["app:v1"] = "sha256:zz"
        promotion = world.promote("app:v1")
        with pytest.raises(ManifestNotFound, match="app:v1 did not get to prod") as caught:
            world.engine.manifest(promotion.id, world.alice)
        assert f"imgctl watch {promotion.id}" in caught.value.fix

    def test_is_seen_by_whom_the_promotion_is_seen(self, make_world: Any) -> None:
        world = make_world(prod=EnvironmentRules(allowed_groups=("prod",)))
        world.promoter.rows = ROWS
        promotion = world.promote("app:v1", actor=world.carol)
        with pytest.raises(PromotionNotFound):
            world.engine.manifest(promotion.id, world.bob)
        assert len(list(world.engine.manifest(promotion.id, world.carol))) == 2


class TestMemory:
    def test_what_only_the_work_needed_is_let_go_of(self, world: Any) -> None:
        class Big:
            pass

        seen: list[weakref.ref[Any]] = []

        def find_out(item: Any, context: Context) -> None:
            context.scratch["big"] = big = Big()
            seen.append(weakref.ref(big))

        class Data(dict[str, Any]):
            pass

        plan = world.promoter.plan

        def with_data(item: Any, context: Context) -> Plan:
            made = plan(item, context)
            data = Data()
            seen.append(weakref.ref(data))
            return Plan(made.item, made.digest, made.current, data=data)

        world.promoter.on["plan"] = find_out
        world.promoter.plan = with_data
        world.promoter.rows = ROWS
        promotion = world.promote("app:v1")
        # It is told to notifiers after its end, by the thread that has worked on it.
        assert world.listener.heard.wait(10)
        gc.collect()
        assert len(seen) == 2
        assert [ref() for ref in seen] == [None, None]
        assert len(list(world.engine.manifest(promotion.id, world.alice))) == 2

    def test_old_manifests_make_room_for_new_ones(self, make_world: Any) -> None:
        packed = Manifest.of(ROWS)
        assert packed is not None
        world = make_world(manifest_bytes=2 * len(packed.packed))
        world.promoter.rows = ROWS
        ids = [world.promote("app:v1").id for _ in range(4)]
        for id in ids[1:]:
            assert len(list(world.engine.manifest(id, world.alice))) == 2
        with pytest.raises(ManifestNotFound, match="no longer keeps") as caught:
            world.engine.manifest(ids[0], world.alice)
        assert "--plan-out" in caught.value.fix
        assert world.engine.get(ids[0], world.alice).items[0].manifest_digest == DIGEST


class TestScratch:
    def test_is_the_items_own_from_plan_to_manifest(self, world: Any) -> None:
        def remember(subject: Any, context: Context) -> None:
            text = getattr(subject, "item", subject).text
            context.scratch.setdefault("steps", []).append(text)  # type: ignore[attr-defined]

        seen: list[Any] = []
        for step in ("plan", "stage", "publish", "verify"):
            world.promoter.on[step] = remember
        world.promoter.on["manifest"] = lambda _, context: seen.append(context.scratch["steps"][:])
        world.promote("app:v1", "lib:v1")
        assert seen == [["app:v1"] * 4, ["lib:v1"] * 4]

    def test_is_empty_again_when_the_plan_is_made_again(self, world: Any) -> None:
        sizes: list[int] = []
        staging, go_on = threading.Event(), threading.Event()

        def plan(item: Any, context: Context) -> None:
            sizes.append(len(context.scratch))
            context.scratch["old"] = "news"

        def hold(_: Any, context: Context) -> None:
            staging.set()
            assert go_on.wait(30)

        world.promoter.on.update(plan=plan, stage=hold)
        first = world.engine.start(world.request("app:v1"), world.alice)
        assert staging.wait(10)
        second = world.engine.start(world.request("app:v1"), world.alice)
        for event in world.engine.watch(second.id, world.alice, threading.Event()):
            if isinstance(event, Progress) and event.phase is Phase.LOCK:
                go_on.set()
        assert world.wait(first.id).outcome is Outcome.PROMOTED
        assert set(sizes) == {0}


class TestExport:
    def test_gives_the_plan_and_every_row_of_it(self, world: Any) -> None:
        world.promoter.rows = ROWS
        world.promoter.on["plan"] = lambda _, context: context.scratch.update(seen=True)
        world.promoter.on["manifest"] = lambda _, context: context.scratch["seen"]
        request = world.request("app:v1", "lib:v1")
        report, rows = world.engine.export_plan(request, world.alice, CancelToken())
        assert report == world.engine.plan(request, world.alice, CancelToken())
        assert [(row.text, row.json) for row in rows] == [
            (ref, text) for ref in ("app:v1", "lib:v1") for text in LINES
        ]
        assert world.shelves["prod"] == {}
        assert [r["event"] for r in world.records()] == ["plan.made", "plan.made"]

    def test_makes_rows_only_as_they_are_asked_for(self, world: Any) -> None:
        made: list[int] = []

        def rows() -> Iterator[Any]:
            for number in range(1_000_000):
                made.append(number)
                yield {"number": number}

        world.promoter.rows = rows()
        cancel = CancelToken()
        _, found = world.engine.export_plan(world.request("app:v1"), world.alice, cancel)
        assert next(found).json == '{"number":0}'
        assert len(made) == 1
        cancel.cancel()
        with pytest.raises(Cancelled):
            next(found)
        assert len(made) == 2

    def test_leaves_out_what_has_no_plan(self, world: Any) -> None:
        world.promoter.rows = ROWS
        world.shelves["prod"]["lib:v1"] = "sha256:zz"
        request = world.request("app:v1", "lib:v1")
        report, rows = world.engine.export_plan(request, world.alice, CancelToken())
        assert report.outcome is Outcome.CONFLICT
        assert {row.text for row in rows} == {"app:v1"}

    def test_is_for_those_who_may_promote(self, make_world: Any) -> None:
        world = make_world(prod=EnvironmentRules(allowed_groups=("prod",)))
        with pytest.raises(NotAuthorized):
            world.engine.export_plan(world.request("app:v1"), world.alice, CancelToken())
        assert len(world.records("authz.denied")) == 1
