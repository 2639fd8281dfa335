"""What the client makes of streams of rows, whole and not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from imgctl_core import errors
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core.client import Client, Target
from imgctl_core.models import ManifestRow, Outcome, PlanReport, PromotionRequest

Script = Callable[..., str]
REQUEST = PromotionRequest(("a:1",), "prod")


def _row(number: int) -> pb.ManifestRow:
    return pb.ManifestRow(ref="a:1", json=f'{{"n":{number}}}')


def _page(sequence: int, *numbers: int) -> pb.GetManifestResponse:
    return pb.GetManifestResponse(sequence=sequence, rows=map(_row, numbers))


def _end(sequence: int, rows: int) -> pb.GetManifestResponse:
    return pb.GetManifestResponse(sequence=sequence, end=pb.ManifestEnd(rows=rows))


def _plan_page(sequence: int, *numbers: int) -> pb.ExportPlanResponse:
    return pb.ExportPlanResponse(sequence=sequence, rows=map(_row, numbers))


def _plan_end(sequence: int) -> pb.ExportPlanResponse:
    result = pb.PlanPromotionResponse(outcome=pb.OUTCOME_PROMOTED)
    return pb.ExportPlanResponse(sequence=sequence, result=result)


def _manifest(script: Script, *messages: pb.GetManifestResponse) -> list[ManifestRow]:
    def behavior(request: Any, context: Any) -> Iterator[pb.GetManifestResponse]:
        assert (request.id, request.ref) == ("pr_1", "a:1")
        yield from messages

    with Client(Target(script(GetManifest=behavior)), "t") as client:
        return list(client.manifest("pr_1", "a:1"))


def _export(script: Script, *messages: pb.ExportPlanResponse) -> list[ManifestRow | PlanReport]:
    def behavior(request: Any, context: Any) -> Iterator[pb.ExportPlanResponse]:
        yield from messages

    with Client(Target(script(ExportPlan=behavior)), "t") as client:
        return list(client.export_plan(REQUEST))


def test_a_whole_manifest(script: Script) -> None:
    rows = _manifest(script, _page(1, 1, 2), _page(2, 3), _end(3, 3))
    assert rows == [ManifestRow("a:1", f'{{"n":{number}}}') for number in (1, 2, 3)]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [_page(1, 1)],
        [_page(1, 1), _end(3, 1)],
        [_page(2, 1), _end(3, 1)],
        [_page(1, 1), _page(1, 1), _end(2, 2)],
        [_page(1, 1), _end(2, 2)],
    ],
    ids=["nothing", "no end", "gap", "not from 1", "twice", "too few"],
)
def test_a_manifest_that_is_not_whole_is_cut(
    script: Script, messages: list[pb.GetManifestResponse]
) -> None:
    with pytest.raises(errors.StreamCut, match="before the manifest was whole") as caught:
        _manifest(script, *messages)
    assert "same command again" in caught.value.fix


def test_a_whole_plan(script: Script) -> None:
    *rows, report = _export(script, _plan_page(1, 1), _plan_page(2, 2), _plan_end(3))
    assert len(rows) == 2
    assert isinstance(report, PlanReport)
    assert report.outcome is Outcome.PROMOTED


@pytest.mark.parametrize(
    "messages",
    [[], [_plan_page(1, 1)], [_plan_page(1, 1), _plan_end(3)], [_plan_end(2)]],
    ids=["nothing", "no result", "gap", "not from 1"],
)
def test_a_plan_that_is_not_whole_is_cut(
    script: Script, messages: list[pb.ExportPlanResponse]
) -> None:
    with pytest.raises(errors.StreamCut, match="before the plan was whole"):
        _export(script, *messages)


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL]
)
def test_a_stream_broken_by_something_in_between_is_cut(
    script: Script, code: grpc.StatusCode
) -> None:
    def behavior(request: Any, context: Any) -> Iterator[pb.GetManifestResponse]:
        yield _page(1, 1)
        context.abort(code, "upstream reset")

    with Client(Target(script(GetManifest=behavior)), "t") as client:
        rows = client.manifest("pr_1")
        assert next(rows).json == '{"n":1}'
        with pytest.raises(errors.StreamCut):
            next(rows)


def test_a_stream_given_up_is_cancelled_at_the_server(script: Script) -> None:
    left = threading.Event()

    def behavior(request: Any, context: Any) -> Iterator[Any]:
        context.add_callback(left.set)
        yield _page(1, 1) if isinstance(request, pb.GetManifestRequest) else _plan_page(1, 1)
        assert left.wait(10)

    with Client(Target(script(GetManifest=behavior, ExportPlan=behavior)), "t") as client:
        for rows in (client.manifest("pr_1"), client.export_plan(REQUEST)):
            next(rows)
            rows.close()  # type: ignore[attr-defined]
            assert left.wait(10)
            left.clear()


def test_an_older_server_is_told_from_a_lost_one(script: Script) -> None:
    with Client(Target(script()), "t") as client:
        for rows in (client.manifest("pr_1"), client.export_plan(REQUEST)):
            with pytest.raises(errors.ServerUnreachable, match="does not know this call"):
                next(rows)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '[["a",1]]', "1", '{"a":NaN}', '{"a":' + "[" * 100_000, '{"a":"\x1b"}']
)
def test_a_row_that_is_no_object_is_the_servers_bug(script: Script, text: str) -> None:
    page = pb.GetManifestResponse(sequence=1, rows=[pb.ManifestRow(ref="a:1", json=text)])
    with pytest.raises(errors.InternalError, match="no JSON object"):
        _manifest(script, page, _end(2, 1))


def test_a_row_has_one_form_whatever_the_server_sent(script: Script) -> None:
    text = '{ "z": "\x7f\u202e\u2028",\n "a": 1.5 }'
    page = pb.GetManifestResponse(sequence=1, rows=[pb.ManifestRow(ref="a:1", json=text)])
    (row,) = _manifest(script, page, _end(2, 1))
    assert row.json == '{"a":1.5,"z":"\\u007f\\u202e\\u2028"}'
