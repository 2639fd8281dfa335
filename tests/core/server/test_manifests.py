"""Rows on the wire: in messages of a bounded size, numbered, with one end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from imgctl_core import errors
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.errors import Cancelled, ManifestNotFound
from imgctl_core.models import ManifestRow, OnConflict, PlanReport, PromotionRequest
from imgctl_core.server import limits, servicer
from imgctl_core.server.paging import PAGE, pages

REQUEST = PromotionRequest(
    ("spa:shop:1", "app:v1"), "prod", "dev", OnConflict.REPLACE, deep=True, options={"a": "b"}
)
MANY = [ManifestRow("spa:shop:1", f'{{"key":"assets/{n:05}.js"}}') for n in range(20_000)]
SENT = sum(len(row.text) + len(row.json) for row in MANY)


class Long:
    """More rows than any buffer takes, and what became of their reader."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[ManifestRow]:
        try:
            for number in range(20_000):
                yield ManifestRow("a:1", f'{{"number":{number},"text":"{"x" * 10_000}"}}')
        finally:
            self.closed.set()


def _stub(running: Any) -> tuple[Any, Any]:
    return imgctl_pb2_grpc.ImgCtlStub(running.channel()), [("authorization", "Bearer good")]


def _sizes(rows: list[ManifestRow], limit: int) -> list[int]:
    return [len(page) for page in pages(rows, limit)]


def test_pages_hold_so_many_bytes_or_one_row() -> None:
    short, long = ManifestRow("é", "12345678"), ManifestRow("a", "1" * 99)
    assert _sizes([], 20) == []
    assert _sizes([short] * 5, 20) == [2, 2, 1]
    assert _sizes([short, long, long, short], 20) == [1, 1, 1, 1]
    assert list(itertools.chain(*pages(MANY))) == MANY


class TestGetManifest:
    def test_many_rows_come_in_several_messages_and_one_end(self, running: Any) -> None:
        running.engine.rows = MANY
        stub, metadata = _stub(running)
        request = pb.GetManifestRequest(id="pr_1", ref="spa:shop:1")
        messages = list(stub.GetManifest(request, metadata=metadata))
        assert [message.sequence for message in messages] == list(range(1, len(messages) + 1))
        *full, end = messages
        assert len(full) == -(-SENT // PAGE)
        assert all(message.ByteSize() < 2 * PAGE for message in messages)
        assert not any(message.HasField("end") for message in full)
        assert (end.HasField("end"), end.end.rows, len(end.rows)) == (True, 20_000, 0)
        (asked,) = running.engine.rows_asked
        assert (asked[0], asked[1].matched_group, asked[2]) == ("pr_1", "promoters", "spa:shop:1")

    def test_the_client_gives_all_of_them(self, running: Any) -> None:
        running.engine.rows = MANY
        assert list(running.client().manifest("pr_1")) == MANY
        assert running.engine.rows_asked[0][2] == ""

    def test_what_stands_in_the_way_is_a_typed_error(self, running: Any) -> None:
        running.engine.errors["manifest"] = ManifestNotFound("none yet", fix="wait", id="pr_1")
        with pytest.raises(ManifestNotFound, match="none yet") as caught:
            next(running.client().manifest("pr_1"))
        assert (caught.value.fix, caught.value.id) == ("wait", "pr_1")

    @pytest.mark.parametrize(
        ("id", "ref", "cls"),
        [
            ("1", "", errors.PromotionNotFound),
            ("pr_1", "a\x1b:1", errors.InvalidReference),
            ("pr_1", "a" * 1025, errors.InvalidReference),
        ],
    )
    def test_a_request_is_checked(self, running: Any, id: str, ref: str, cls: type) -> None:
        with pytest.raises(cls):
            next(running.client().manifest(id, ref))
        assert running.engine.rows_asked == []

    def test_nobody_without_a_token_gets_any(self, running: Any) -> None:
        running.engine.rows = MANY
        with pytest.raises(errors.TokenRefused):
            next(running.client("forged").manifest("pr_1"))
        with pytest.raises(errors.TokenRefused):
            next(running.client("forged").export_plan(REQUEST))
        assert running.engine.rows_asked == running.engine.requests == []

    def test_a_bug_in_the_midst_of_it_tells_nothing(self, running: Any) -> None:
        def rows() -> Iterator[ManifestRow]:
            yield from MANY
            raise RuntimeError("password=hunter2")

        running.engine.rows = rows()
        with pytest.raises(errors.InternalError) as caught:
            list(running.client().manifest("pr_1"))
        assert "hunter2" not in caught.value.message + caught.value.fix

    def test_there_are_so_many_places_and_leaving_frees_them(
        self, serve: Callable[..., Any]
    ) -> None:
        running = serve(max_promotions=1)
        places = limits.Capacity.for_promotions(1).manifests
        stub, metadata = _stub(running)
        for _ in range(2):
            readers = [Long() for _ in range(places)]
            calls = []
            for reader in readers:
                running.engine.rows = reader
                call = _until_served(stub, metadata)
                calls.append(call)
            with pytest.raises(errors.ServerBusy, match="manifest"):
                next(running.client().manifest("pr_1"))
            for call in calls:
                call.cancel()
            assert all(reader.closed.wait(10) for reader in readers)

    def test_who_reads_nothing_does_not_hold_a_place_for_ever(
        self, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _patience(monkeypatch, manifest_seconds=0.05)
        running = serve()
        running.engine.rows = long = Long()
        stub, metadata = _stub(running)
        call = stub.GetManifest(pb.GetManifestRequest(id="pr_1"), metadata=metadata)
        next(call)
        assert long.closed.wait(10)

    def test_who_reads_for_too_long_is_told(
        self, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _patience(monkeypatch, grace=60.0, manifest_seconds=0.05)
        running = serve()
        running.engine.rows = Long()
        with pytest.raises(errors.DeadlineExceeded, match="the manifest was not read within"):
            for _ in running.client().manifest("pr_1"):
                pass


class TestExportPlan:
    def test_gives_every_row_and_then_the_plan(self, running: Any) -> None:
        running.engine.rows = MANY
        *rows, report = running.client().export_plan(REQUEST)
        assert rows == MANY
        assert isinstance(report, PlanReport)
        asked, actor, peer = running.engine.requests[0]
        assert asked == replace(REQUEST, request_id="")
        assert actor.matched_group == "promoters"
        assert peer.address.startswith("127.0.0.1:")
        assert report == running.client().plan(REQUEST)

    def test_its_messages_are_small_and_the_last_alone_has_the_plan(self, running: Any) -> None:
        running.engine.rows = MANY
        stub, metadata = _stub(running)
        request = pb.ExportPlanRequest(refs=["a:1"], destination="prod")
        *full, last = stub.ExportPlan(request, metadata=metadata)
        assert [message.sequence for message in (*full, last)] == list(range(1, len(full) + 2))
        assert len(full) == -(-SENT // PAGE)
        assert all(message.ByteSize() < 2 * PAGE for message in full)
        assert not any(message.HasField("result") for message in full)
        assert (last.HasField("result"), len(last.rows)) == (True, 0)

    def test_a_plan_of_a_kind_without_parts(self, running: Any) -> None:
        (report,) = running.client().export_plan(REQUEST)
        assert isinstance(report, PlanReport)

    def test_a_refusal_comes_first(self, running: Any) -> None:
        running.engine.errors["export_plan"] = errors.NotAuthorized("you may not")
        with pytest.raises(errors.NotAuthorized, match="you may not"):
            next(running.client().export_plan(REQUEST))

    @pytest.mark.parametrize("fields", [{"refs": []}, {"refs": ["a\n:1"]}, {"on_conflict": 9}])
    def test_a_request_is_checked(self, running: Any, fields: dict[str, Any]) -> None:
        stub, metadata = _stub(running)
        message = pb.ExportPlanRequest(**{"refs": ["a:1"], "destination": "prod", **fields})
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.ExportPlan(message, metadata=metadata, timeout=10))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert running.engine.requests == []

    def test_who_leaves_cancels_it(self, running: Any) -> None:
        running.engine.rows = long = Long()
        rows = running.client().export_plan(REQUEST)
        next(rows)
        rows.close()
        cancelled = threading.Event()
        running.engine.rows_cancel.on_cancel(cancelled.set)
        assert cancelled.wait(10)
        assert long.closed.wait(10)

    def test_takes_one_of_the_places_of_plans(self, serve: Callable[..., Any]) -> None:
        running = serve(max_promotions=1)
        running.engine.rows = Long()
        rows = running.client().export_plan(REQUEST)
        next(rows)
        with pytest.raises(errors.ServerBusy, match="plan"):
            running.client().plan(REQUEST)
        rows.close()

    def test_has_a_time_limit_while_it_plans(
        self, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _patience(monkeypatch, plan_seconds=0.05)
        running = serve()
        running.engine.hold_plan = threading.Event()
        with pytest.raises(errors.DeadlineExceeded, match="the plan was not made"):
            next(running.client().export_plan(REQUEST))

    def test_has_a_time_limit_while_it_sends(
        self, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _patience(monkeypatch, grace=60.0, plan_seconds=0.05)
        running = serve()

        def rows() -> Iterator[ManifestRow]:
            for row in Long():
                if running.engine.rows_cancel.cancelled:
                    raise Cancelled("the plan was cancelled")
                yield row

        running.engine.rows = rows()
        with pytest.raises(errors.DeadlineExceeded, match="the plan was not made"):
            for _ in running.client().export_plan(REQUEST):
                pass


def _patience(monkeypatch: pytest.MonkeyPatch, grace: float = 0.05, **seconds: float) -> None:
    defaults: Any = servicer.Servicer.__init__.__kwdefaults__
    for name, value in seconds.items():
        monkeypatch.setitem(defaults, name, value)
    monkeypatch.setattr(limits, "_GRACE", grace)


def _until_served(stub: Any, metadata: Any) -> Any:
    """Begin to read; a place is given back just after its reader has left."""
    while True:
        call = stub.GetManifest(pb.GetManifestRequest(id="pr_1"), metadata=metadata)
        try:
            next(call)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        else:
            return call
