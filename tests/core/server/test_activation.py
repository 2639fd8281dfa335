"""Going live over the wire: what goes in reaches the engine, what comes out is what it said."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest

from imgctl_core import errors
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.client import convert as client_convert
from imgctl_core.models import (
    Action,
    ActivationRequest,
    Failure,
    Outcome,
    Promotion,
    PromotionRequest,
    Step,
)

REQUEST = ActivationRequest("spa:shop", "prod", previous=True, wait=True, request_id="req-1")


def _stub(running: Any) -> tuple[Any, Any]:
    return imgctl_pb2_grpc.ImgCtlStub(running.channel()), [("authorization", "Bearer good")]


def test_start_answers_at_once_and_is_followed_as_a_promotion(running: Any) -> None:
    client = running.client()
    started = client.start_activation(REQUEST)
    asked, actor, peer = running.engine.requests[0]
    assert asked == REQUEST
    assert actor.matched_group == "promoters"
    assert peer.address.startswith("127.0.0.1:")
    assert (started.id, started.outcome, started.action) == ("pr_1", None, Action.ACTIVATE)
    assert (started.source, started.destination) == ("prod", "prod")
    running.engine.end("pr_1", Outcome.ACTIVATED)
    *_, ended = client.watch("pr_1")
    assert isinstance(ended, Promotion)
    assert (ended.outcome, ended.action) == (Outcome.ACTIVATED, Action.ACTIVATE)
    assert client.get("pr_1") == ended
    assert client.cancel("pr_1").id == "pr_1"


def test_a_promotion_says_that_it_is_one(running: Any) -> None:
    started = running.client().start(PromotionRequest(("app:v1",), "prod"))
    assert started.action is Action.PROMOTE


@pytest.mark.parametrize("word", ["", "something newer"])
def test_an_action_that_we_dont_know_is_no_activation(word: str) -> None:
    assert client_convert.promotion(pb.Promotion(action=word)).action is Action.PROMOTE


def test_a_failed_one_still_says_what_was_asked_for(running: Any) -> None:
    client = running.client()
    client.start_activation(REQUEST)
    failure = Failure("CONFLICT", "something else is live", "look", "pr_1")
    running.engine.end("pr_1", Outcome.CONFLICT, failure)
    found = client.get("pr_1")
    assert (found.outcome, found.action) == (Outcome.CONFLICT, Action.ACTIVATE)
    assert found.items[0].error == failure


def test_plan(running: Any) -> None:
    request = ActivationRequest("spa:shop", "prod", previous=True)
    report = running.client().plan_activation(request)
    assert running.engine.plan_requests == [request]
    assert (report.action, report.outcome) == (Action.ACTIVATE, Outcome.ACTIVATED)
    assert (report.source, report.destination) == ("prod", "prod")
    (item,) = report.items
    assert (item.text, item.kind, item.outcome) == ("spa:shop:1.4.1", "spa", Outcome.ACTIVATED)
    assert item.digest == "sha256:" + "ab" * 32
    assert item.current == "sha256:" + "cd" * 32
    assert item.steps == (Step("switch", "to 1.4.1"),)


def test_a_caller_who_leaves_a_plan_cancels_it(running: Any) -> None:
    running.engine.hold_plan = threading.Event()
    stub, metadata = _stub(running)
    message = pb.PlanActivationRequest(ref="spa:shop:1", environment="prod")
    call = stub.PlanActivation.future(message, metadata=metadata)
    assert running.engine.plan_began.wait(10)
    call.cancel()
    assert running.engine.plan_cancelled.wait(10)


@pytest.mark.parametrize(
    "error",
    [
        errors.NotActivatable("of kind 'image', and nothing of that kind can go live", fix="spa"),
        errors.RequestError("'spa:shop' names no version", fix="type spa:shop:<version>"),
        errors.NotAuthorized("you may not", fix="ask for the group"),
    ],
)
def test_errors_come_back_as_they_went(running: Any, error: errors.ImgctlError) -> None:
    client = running.client()
    running.engine.errors = {"start": error, "plan": error}
    for call in (client.start_activation, client.plan_activation):
        with pytest.raises(errors.ImgctlError) as caught:
            call(REQUEST)
        assert type(caught.value) is type(error)
        assert (caught.value.message, caught.value.fix) == (error.message, error.fix)


BAD = (
    {"ref": ""},
    {"ref": "a" * 1025},
    {"ref": "spa:shop:1\n"},
    {"ref": "spa:sh\u202eop:1"},
    {"environment": "x" * 129},
    {"environment": "prod\r"},
)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        *((method, fields) for method in ("StartActivation", "PlanActivation") for fields in BAD),
        ("StartActivation", {"request_id": "no spaces"}),
        ("StartActivation", {"request_id": "x" * 65}),
    ],
)
def test_what_no_request_may_hold_is_refused(
    running: Any, method: str, fields: dict[str, str]
) -> None:
    stub, metadata = _stub(running)
    message = getattr(pb, f"{method}Request")(
        **{"ref": "spa:shop:1", "environment": "prod", **fields}
    )
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, method)(message, metadata=metadata, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert running.engine.requests == []
    assert running.engine.plan_requests == []


@pytest.mark.parametrize("method", ["StartActivation", "PlanActivation"])
def test_nobody_gets_there_without_a_token(running: Any, method: str) -> None:
    stub, _ = _stub(running)
    message = getattr(pb, f"{method}Request")(ref="spa:shop:1", environment="prod")
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, method)(message, timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert running.engine.requests == []
