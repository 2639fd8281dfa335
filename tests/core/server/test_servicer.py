"""The methods: what goes in reaches the engine, what comes out is what it said."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from imgctl_core import errors
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.errors import AuditUnavailable, RequestError
from imgctl_core.models import (
    Failure,
    OnConflict,
    Outcome,
    Phase,
    PluginStatus,
    Progress,
    Promotion,
    PromotionRequest,
)
from imgctl_core.server import convert, limits, servicer, status

REQUEST = PromotionRequest(("team/app:v1",), "prod", "dev", OnConflict.REPLACE, request_id="req-1")


def _stub(running: Any) -> tuple[Any, Any]:
    return imgctl_pb2_grpc.ImgCtlStub(running.channel()), [("authorization", "Bearer good")]


def test_promote_waits_for_the_end(running: Any) -> None:
    client = running.client()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.promote, REQUEST)
        assert running.engine.wait_for(lambda: running.engine.watchers == 1)
        assert not answer.done()
        running.engine.end("pr_1", Outcome.PROMOTED)
        promotion = answer.result(10)
    asked, actor, peer = running.engine.requests[0]
    assert asked == REQUEST
    assert actor.matched_group == "promoters"
    assert peer.address.startswith("127.0.0.1:")
    assert promotion.outcome is Outcome.PROMOTED
    assert (promotion.id, promotion.source, promotion.destination) == ("pr_1", "dev", "prod")
    assert promotion.actor.email == "jane@example.com"
    assert promotion.seconds == 9.0
    assert promotion.audit_head == "ff" * 32
    assert promotion.items[0].bytes_copied == 5


@pytest.mark.parametrize(
    ("outcome", "failure", "cls", "id"),
    [
        (Outcome.CONFLICT, Failure("CONFLICT", "m", "f"), errors.Conflict, "pr_1"),
        (Outcome.FAILED, Failure("ENDPOINT_DENIED", "m", "f"), errors.EndpointDenied, "pr_1"),
        (Outcome.FAILED, Failure("INTERNAL", "m", "f", "in_7"), errors.InternalError, "in_7"),
        (Outcome.FAILED, Failure("OF_A_PLUGIN", "m", "f"), errors.PromotionError, "pr_1"),
        (Outcome.CANCELLED, Failure("CANCELLED", "m", "f"), errors.Cancelled, "pr_1"),
        (Outcome.CANCELLED, None, errors.Cancelled, "pr_1"),
        (Outcome.DENIED, None, errors.NotAuthorized, "pr_1"),
        (Outcome.CONFLICT, None, errors.Conflict, "pr_1"),
        (Outcome.FAILED, None, errors.PromotionError, "pr_1"),
    ],
)
def test_promote_raises_what_kept_it_from_being_good(
    running: Any,
    outcome: Outcome,
    failure: Failure | None,
    cls: type[errors.ImgctlError],
    id: str,
) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(running.client().promote, REQUEST)
        assert running.engine.wait_for(lambda: running.engine.watchers == 1)
        running.engine.end("pr_1", outcome, failure)
        error = answer.exception(10)
    assert type(error) is cls
    assert error.id == id
    if failure is not None:
        assert (error.message, error.fix) == ("m", "f")


def test_a_caller_who_leaves_promote_cancels_nothing(running: Any) -> None:
    stub, metadata = _stub(running)
    call = stub.Promote.future(pb.PromoteRequest(ref="a:1", destination="prod"), metadata=metadata)
    assert running.engine.wait_for(lambda: running.engine.watchers == 1)
    call.cancel()
    assert running.engine.wait_for(lambda: running.engine.watchers == 0)
    assert running.engine.cancelled == []
    assert running.engine.promotions["pr_1"].outcome is None


def test_promote_does_not_hold_its_thread_for_ever(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults: Any = servicer.Servicer.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "promote_seconds", 0.0)
    running = serve()
    with pytest.raises(errors.DeadlineExceeded, match="still running") as caught:
        running.client().promote(REQUEST)
    assert caught.value.id == "pr_1"
    assert "imgctl watch pr_1" in caught.value.fix


def test_start_answers_at_once(running: Any) -> None:
    request = PromotionRequest(("a:1", "spa:b:2"), "prod")
    promotion = running.client().start(request)
    assert promotion.outcome is None
    assert promotion.ended_at is None
    assert promotion.started_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert [item.text for item in promotion.items] == ["a:1", "spa:b:2"]
    assert running.engine.requests[0][0] == request


def test_watch_gives_progress_and_then_the_result(running: Any) -> None:
    client = running.client()
    client.start(REQUEST)
    events = client.watch("pr_1")
    first = next(events)
    assert isinstance(first, Progress)
    assert first.phase is Phase.STAGE
    item = first.items[0]
    assert (item.text, item.message) == ("app:v1", "layer 1")
    assert (item.bytes_total, item.bytes_copied, item.bytes_present) == (10, 0, 5)
    running.engine.end("pr_1", Outcome.UNCHANGED)
    rest = list(events)
    assert isinstance(rest[-1], Promotion)
    assert rest[-1].outcome is Outcome.UNCHANGED
    assert all(isinstance(event, Progress) for event in rest[:-1])


def test_watch_numbers_its_messages_and_ends_with_the_only_result(running: Any) -> None:
    running.client().start(REQUEST)
    running.engine.end("pr_1", Outcome.PROMOTED)
    stub, metadata = _stub(running)
    messages = list(stub.WatchPromotion(pb.WatchPromotionRequest(id="pr_1"), metadata=metadata))
    assert [message.sequence for message in messages] == [1, 2, 3]
    assert [message.WhichOneof("event") for message in messages] == [
        "progress",
        "progress",
        "result",
    ]


def test_watchers_that_leave_free_their_places(
    serve: Callable[..., Any],
) -> None:
    running = serve(max_promotions=1)
    places = limits.Capacity.for_promotions(1).watches
    running.client().start(REQUEST)
    for _ in range(3):
        calls = _watch_until_full(running, places)
        with pytest.raises(errors.ServerBusy, match="watcher"):
            next(running.client().watch("pr_1"))
        for call in calls:
            call.cancel()
        assert running.engine.wait_for(lambda: running.engine.watchers == 0)


def _watch_until_full(running: Any, places: int) -> list[Any]:
    """Open that many watches; a place is given back just after its watch has ended."""
    stub, metadata = _stub(running)
    calls: list[Any] = []
    while len(calls) < places:
        call = stub.WatchPromotion(pb.WatchPromotionRequest(id="pr_1"), metadata=metadata)
        try:
            next(call)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        else:
            calls.append(call)
    return calls


def test_cancel_and_get(running: Any) -> None:
    client = running.client()
    client.start(REQUEST)
    assert client.cancel("pr_1").id == "pr_1"
    assert running.engine.cancelled == ["pr_1"]
    running.engine.end("pr_1", Outcome.FAILED, Failure("CONFLICT", "m", "f", "i"))
    found = client.get("pr_1")
    assert found.items[0].error == Failure("CONFLICT", "m", "f", "i")


def test_plan(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "MAX_STEPS", 2000)
    report = running.client().plan(REQUEST)
    assert report.outcome is Outcome.CONFLICT
    good, bad = report.items
    assert (good.bytes_to_copy, good.bytes_present, good.kind) == (10, 20, "image")
    assert good.steps[1].subject == "layer 1"
    # What is too long to send is summed up, not dropped.
    assert len(good.steps) == 1001
    assert (good.steps[-1].action, good.steps[-1].subject) == ("more", "11000 further steps")
    assert sum(step.bytes for step in good.steps) == sum(range(12_000))
    assert bad.error == Failure("CONFLICT", "other", "fix it", "pr_x")


def test_a_caller_who_leaves_a_plan_cancels_it(running: Any) -> None:
    running.engine.hold_plan = threading.Event()
    stub, metadata = _stub(running)
    message = pb.PlanPromotionRequest(refs=["a:1"], destination="prod")
    call = stub.PlanPromotion.future(message, metadata=metadata)
    assert running.engine.plan_began.wait(10)
    call.cancel()
    assert running.engine.plan_cancelled.wait(10)


def test_a_plan_has_a_time_limit(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults: Any = servicer.Servicer.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "plan_seconds", 0.05)
    running = serve()
    running.engine.hold_plan = threading.Event()
    with pytest.raises(errors.DeadlineExceeded, match="plan"):
        running.client().plan(REQUEST)


def test_auth_check_tells_and_records(running: Any) -> None:
    report = running.client().auth_check()
    assert report.actor.subject == "Cg5qYW5lEgNzc2g"
    assert report.actor.groups == ("promoters", "staff")
    assert report.actor.matched_group == "promoters"
    assert report.actor.issuer == "https://dex.example.com"
    assert report.actor.expires_at == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert report.destinations == ("prod",)
    assert report.server_version == "1.2.3"
    event, fields = running.events[-1]
    assert event == "auth.checked"
    assert fields["actor"]["sub"] == "Cg5qYW5lEgNzc2g"


def test_auth_check_says_when_the_log_is_broken(serve: Callable[..., Any]) -> None:
    def audit(event: str, fields: object) -> None:
        raise AuditUnavailable("the disk is full")

    running = serve(audit=audit)
    with pytest.raises(AuditUnavailable, match="can't write its audit log"):
        running.client().auth_check()
    # Whoever is turned away is turned away all the same.
    with pytest.raises(errors.TokenRefused):
        running.client("forged").auth_check()


def test_auth_check_explains_what_it_is_asked_about(running: Any) -> None:
    found = running.client().auth_check(PromotionRequest(("app:v1",), "prod")).explanation
    assert (found.ref, found.source, found.destination) == ("app:v1", "dev", "prod")
    assert [(one.check, one.allowed, one.why, one.fix) for one in found.decisions] == [
        ("oidc.allowed_groups", True, "yes", ""),
        ("rules", False, "no", "x"),
    ]
    assert not found.allowed
    asked = {"refs": ["app:v1"], "source": "", "destination": "prod"}
    assert running.events[-1][1]["explained"] == asked
    running.client().auth_check()
    assert "explained" not in running.events[-1][1]
    assert running.client().auth_check().explanation is None


@pytest.mark.parametrize(
    "fields", [{"ref": "a\n:1"}, {"source": "dev"}, {"ref": "a:1", "destination": "x" * 129}]
)
def test_what_is_to_be_explained_is_checked(running: Any, fields: dict[str, str]) -> None:
    stub, metadata = _stub(running)
    with pytest.raises(grpc.RpcError) as caught:
        stub.AuthCheck(pb.AuthCheckRequest(**fields), metadata=metadata, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_server_that_explains_nothing_allows_nothing(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "explained_of", lambda message: None)
    with pytest.raises(RequestError, match=r"version 1\.2\.3\) can't explain"):
        running.client().auth_check(PromotionRequest(("app:v1",), "prod"))


def test_lists(running: Any) -> None:
    dev, prod = running.client().environments()
    assert (dev.name, dev.default_source, dev.may_promote) == ("dev", True, False)
    assert (dev.endpoints[0].kind, dev.endpoints[0].address) == ("image", "r.dev")
    assert (prod.name, prod.may_promote, prod.allow_replace) == ("prod", True, True)
    image, broken = running.client().plugins()
    assert (image.name, image.status, image.promoters) == ("image", PluginStatus.ACTIVE, ("image",))
    assert (broken.status, broken.phase, broken.error) == (
        PluginStatus.QUARANTINED,
        "import",
        "boom",
    )


@pytest.mark.parametrize(
    ("refs", "cls"),
    [
        ([], RequestError),
        ([""], errors.InvalidReference),
        (["a:1"] * 101, RequestError),
        (["a" * 1025], errors.InvalidReference),
        (["a:1\n"], errors.InvalidReference),
        (["a\x00:1"], errors.InvalidReference),
        (["a\u202e:1"], errors.InvalidReference),
        (["a\x9b:1"], errors.InvalidReference),
        (["  "], errors.InvalidReference),
        (["a\u3164:1"], errors.InvalidReference),
        (["a\ufe0f:1"], errors.InvalidReference),
        (["a\u00ad:1"], errors.InvalidReference),
        (["a\U000e0061:1"], errors.InvalidReference),
    ],
)
def test_references_are_checked(
    running: Any, refs: list[str], cls: type[errors.ImgctlError]
) -> None:
    """By the client before it sends, and by the server, whatever client it was."""
    stub, metadata = _stub(running)
    for own in (running.client().start, running.client().plan):
        with pytest.raises(RequestError) as caught:
            own(PromotionRequest(tuple(refs), "prod"))
        assert type(caught.value) is cls
        assert caught.value.message.isprintable()
    for call, message in (
        (stub.StartPromotion, pb.StartPromotionRequest(refs=refs, destination="prod")),
        (stub.PlanPromotion, pb.PlanPromotionRequest(refs=refs, destination="prod")),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call(message, metadata=metadata, timeout=10)
        assert isinstance(refused.value, grpc.Call)
        error = status.from_call(refused.value)
        assert error is not None
        assert type(error) is cls
        assert error.message == caught.value.message
    assert running.engine.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"destination": "x" * 129},
        {"destination": "prod\r"},
        {"destination": "pro\u200bd"},
        {"source": "dev\u2028"},
        {"options": {"A": "b"}},
        {"options": {"referrers": "a\u202e"}},
        {"options": {f"o{n}": "v" for n in range(21)}},
        {"source": "x\x1b[2J"},
        {"request_id": "x" * 65},
        {"request_id": "no spaces"},
        {"request_id": "trailing\n"},
        {"on_conflict": 99},
    ],
)
def test_other_fields_are_checked(running: Any, fields: dict[str, Any]) -> None:
    stub, metadata = _stub(running)
    message = pb.StartPromotionRequest(**{"refs": ["a:1"], "destination": "prod", **fields})
    with pytest.raises(grpc.RpcError) as caught:
        stub.StartPromotion(message, metadata=metadata, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert running.engine.requests == []


def test_the_longest_request_that_makes_sense_is_taken(running: Any) -> None:
    refs = tuple("a" * 1000 + f":{n}" for n in range(100))
    request = PromotionRequest(refs, "d" * 128, "s" * 128, request_id="r" * 64)
    assert len(running.client().start(request).items) == 100


@pytest.mark.parametrize("id", ["", "1", "pr_", "pr_" + "x" * 65, "pr_1\n", "PR_1", "pr_../x"])
def test_what_is_no_promotion_id_is_not_found(running: Any, id: str) -> None:
    client = running.client()
    for call in (client.get, client.cancel, lambda text: list(client.watch(text))):
        with pytest.raises(errors.PromotionNotFound, match="not the id"):
            call(id)
    assert running.engine.cancelled == []


def test_unspecified_on_conflict_means_fail(running: Any) -> None:
    stub, metadata = _stub(running)
    stub.StartPromotion(
        pb.StartPromotionRequest(refs=["a:1"], destination="prod"), metadata=metadata, timeout=10
    )
    assert running.engine.requests[0][0].on_conflict is OnConflict.FAIL
