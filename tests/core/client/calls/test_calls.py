"""What the client makes of servers that misbehave, or are none."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from imgctl_core import errors
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core.client import Client, Target
from imgctl_core.models import (
    ActivationRequest,
    Outcome,
    Phase,
    PluginStatus,
    Progress,
    Promotion,
    PromotionRequest,
)
from imgctl_core.testing.tls import make_tls_files
from imgctl_core.wirelimits import MAX_TOKEN

Script = Callable[..., str]
REQUEST = PromotionRequest(("a:1",), "prod")
PROGRESS = pb.Progress(phase=pb.PHASE_STAGE)
RESULT = pb.Promotion(id="pr_1", outcome=pb.OUTCOME_PROMOTED)


def _message(sequence: int, result: pb.Promotion | None = None) -> pb.WatchPromotionResponse:
    if result is None:
        return pb.WatchPromotionResponse(sequence=sequence, progress=PROGRESS)
    return pb.WatchPromotionResponse(sequence=sequence, result=result)


def _watch(script: Script, *messages: pb.WatchPromotionResponse) -> list[Progress | Promotion]:
    def behavior(request: Any, context: Any) -> Iterator[pb.WatchPromotionResponse]:
        yield from messages

    seen = []
    with Client(Target(script(WatchPromotion=behavior)), "t") as client:
        for event in client.watch("pr_1"):
            seen.append(event)  # noqa: PERF402 - what came before an error counts
    return seen


def test_a_whole_watch(script: Script) -> None:
    progress, result = _watch(script, _message(1), _message(2, RESULT))
    assert isinstance(progress, Progress)
    assert isinstance(result, Promotion)
    assert result.outcome is Outcome.PROMOTED


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [_message(1)],
        [_message(1), _message(3, RESULT)],
        [_message(2, RESULT)],
        [_message(1), _message(1, RESULT)],
        [_message(1, pb.Promotion(id="pr_1"))],
    ],
    ids=["nothing", "no result", "gap", "not from 1", "twice", "result without an outcome"],
)
def test_a_watch_that_is_not_whole_is_cut(
    script: Script, messages: list[pb.WatchPromotionResponse]
) -> None:
    with pytest.raises(errors.StreamCut, match="lost before") as caught:
        _watch(script, *messages)
    assert caught.value.id == "pr_1"
    assert "imgctl watch pr_1" in caught.value.fix


def test_nothing_after_the_result_is_looked_at(script: Script) -> None:
    assert len(_watch(script, _message(1, RESULT), _message(2), _message(3, RESULT))) == 1


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
def test_a_watch_broken_by_something_in_between_is_cut(
    script: Script, code: grpc.StatusCode
) -> None:
    def behavior(request: Any, context: Any) -> Iterator[pb.WatchPromotionResponse]:
        yield _message(1)
        context.abort(code, "upstream reset")

    with Client(Target(script(WatchPromotion=behavior)), "t") as client:
        events = client.watch("pr_1")
        assert isinstance(next(events), Progress)
        with pytest.raises(errors.StreamCut) as caught:
            next(events)
    assert caught.value.id == "pr_1"


def test_a_watch_given_up_is_cancelled_at_the_server(script: Script) -> None:
    left = threading.Event()

    def behavior(request: Any, context: Any) -> Iterator[pb.WatchPromotionResponse]:
        context.add_callback(left.set)
        yield _message(1)
        assert left.wait(10)

    with Client(Target(script(WatchPromotion=behavior)), "t") as client:
        events = client.watch("pr_1")
        next(events)
        events.close()  # type: ignore[attr-defined]
        assert left.wait(10)


@pytest.mark.parametrize("outcome", [pb.OUTCOME_UNSPECIFIED, pb.OUTCOME_FAILED, 99])
def test_promote_takes_no_outcome_but_a_good_one_for_success(script: Script, outcome: Any) -> None:
    def behavior(request: Any, context: Any) -> pb.PromoteResponse:
        return pb.PromoteResponse(promotion=pb.Promotion(id="pr_1", outcome=outcome))

    with Client(Target(script(Promote=behavior)), "t") as client, pytest.raises(errors.StreamCut):
        client.promote(REQUEST)


def test_a_promote_that_is_lost_midway_is_cut(script: Script) -> None:
    def behavior(request: Any, context: Any) -> pb.PromoteResponse:
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        raise AssertionError

    client = Client(Target(script(Promote=behavior)), "t")
    with client, pytest.raises(errors.StreamCut) as caught:
        client.promote(REQUEST)
    assert "the same command again" in caught.value.fix


@pytest.mark.parametrize(
    ("code", "details", "cls", "text"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "", errors.ServerUnreachable, "does not know this call"),
        (grpc.StatusCode.UNAVAILABLE, "upstream", errors.ServerUnreachable, "upstream"),
        (grpc.StatusCode.UNAUTHENTICATED, "no", errors.TokenRefused, "no"),
        (grpc.StatusCode.PERMISSION_DENIED, "403", errors.NotAuthorized, "403"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", errors.ServerBusy, "too many"),
        (grpc.StatusCode.UNKNOWN, "", errors.InternalError, "UNKNOWN"),
        (grpc.StatusCode.INTERNAL, "proxy", errors.InternalError, "proxy"),
    ],
)
def test_a_status_of_something_in_between_has_a_meaning(
    script: Script,
    code: grpc.StatusCode,
    details: str,
    cls: type[errors.ImgctlError],
    text: str,
) -> None:
    def behavior(request: Any, context: Any) -> None:
        context.abort(code, details)

    with Client(Target(script(GetPromotion=behavior)), "t") as client:
        with pytest.raises(errors.ImgctlError, match=text) as caught:
            client.get("pr_1")
        assert type(caught.value) is cls


def test_an_error_info_of_another_domain_is_not_ours(script: Script) -> None:
    from google.protobuf import any_pb2
    from google.rpc import error_details_pb2, status_pb2
    from grpc_status import rpc_status

    def behavior(request: Any, context: Any) -> None:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason="CONFLICT", domain="example.com"))
        status = status_pb2.Status(code=7, message="gateway", details=[detail])
        context.abort_with_status(rpc_status.to_status(status))

    client = Client(Target(script(GetPromotion=behavior)), "t")
    with client, pytest.raises(errors.NotAuthorized, match="gateway"):
        client.get("pr_1")


@pytest.mark.parametrize("trailer", [b"rubbish", b"\x08\x05\x12\x05other"])
def test_a_status_that_contradicts_itself_is_read_as_plain(script: Script, trailer: bytes) -> None:
    def behavior(request: Any, context: Any) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", trailer),))
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

    client = Client(Target(script(GetPromotion=behavior)), "t")
    with client, pytest.raises(errors.NotAuthorized, match="no"):
        client.get("pr_1")


def test_a_server_that_does_not_answer(script: Script) -> None:
    release = threading.Event()

    def behavior(request: Any, context: Any) -> pb.GetPromotionResponse:
        release.wait(10)
        return pb.GetPromotionResponse()

    with Client(Target(script(GetPromotion=behavior), timeout=0.2), "t") as client:
        with pytest.raises(errors.ServerUnreachable, match="did not answer in time"):
            client.get("pr_1")
        release.set()


def test_nothing_listens_there(unused_address: str) -> None:
    began = time.monotonic()
    with Client(Target(unused_address), "t") as client:
        with pytest.raises(errors.ServerUnreachable, match="nothing listens there") as caught:
            client.auth_check()
        for call in (client.promote, client.plan, client.start):
            with pytest.raises(errors.ServerUnreachable, match="nothing listens there"):
                call(REQUEST)
        with pytest.raises(errors.ServerUnreachable):
            next(client.watch("pr_1"))
    assert time.monotonic() - began < 5
    assert unused_address in caught.value.message
    assert caught.value.fix
    assert caught.value.__suppress_context__


@pytest.fixture
def unused_address() -> Iterator[str]:
    with socket.socket() as bound:
        # Bound and not listening: nobody else gets the port, and connecting is refused.
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_no_socket_there(tmp_path: Path) -> None:
    client = Client(Target(f"unix:{tmp_path}/none.sock"), "t")
    with client, pytest.raises(errors.ServerUnreachable, match="no such socket"):
        client.auth_check()


def test_something_that_never_speaks_is_given_up_soon(
    raw_server: Callable[..., str], tmp_path: Path
) -> None:
    release = threading.Event()
    address = raw_server(lambda connection: release.wait(20))
    files = make_tls_files(tmp_path)
    try:
        for target in (Target(address, timeout=0.3), Target(address, files.ca, timeout=0.3)):
            began = time.monotonic()
            # A promotion has no time limit, and still learns soon that nobody is there.
            with Client(target, "t") as client, pytest.raises(errors.ServerUnreachable):
                client.promote(REQUEST)
            assert time.monotonic() - began < 5
    finally:
        release.set()


def test_a_web_server(raw_server: Callable[..., str]) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    client = Client(Target(raw_server(serve)), "t")
    with client, pytest.raises(errors.ServerUnreachable, match="HTTP/1 server answered"):
        client.auth_check()


def test_a_ca_file_that_is_no_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    with pytest.raises(errors.InvalidSetting, match=r"rubbish\.pem holds no certificate"):
        Client(Target("example.com:1", rubbish), "t")
    with pytest.raises(errors.InvalidSetting, match="can't be read: No such file"):
        Client(Target("example.com:1", tmp_path / "absent"), "t")
    monkeypatch.setenv("SSL_CERT_FILE", str(rubbish))
    with pytest.raises(errors.InvalidSetting, match=r"SSL_CERT_FILE .* holds no certificate"):
        Client(Target("example.com:1"), "t")


def test_the_proxy_of_the_environment_is_not_for_this_machine(
    script: Script, unused_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://{unused_address}")

    def behavior(request: Any, context: Any) -> pb.AuthCheckResponse:
        return pb.AuthCheckResponse(subject="s")

    with Client(Target(script(AuthCheck=behavior)), "t") as client:
        assert client.auth_check().actor.subject == "s"


def test_a_socket_of_another_user_gets_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "i.sock"
    path.touch()
    if os.geteuid() == 0:
        os.chown(path, 4321, -1)
    target = Target(f"unix:{path}")
    Client(target, "t").close()
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(errors.InvalidSetting, match="belongs to another user"):
        Client(target, "t")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid)
    Client(target, "t").close()


def test_the_token_travels_as_one_bearer_header(script: Script) -> None:
    seen: list[Any] = []

    def behavior(request: Any, context: Any) -> pb.AuthCheckResponse:
        seen.extend(value for key, value in context.invocation_metadata() if key[:4] == "auth")
        return pb.AuthCheckResponse()

    tokens = iter(["one", "two"])
    with Client(Target(script(AuthCheck=behavior)), lambda: next(tokens)) as client:
        client.auth_check()
        client.auth_check()
    assert seen == ["Bearer one", "Bearer two"]


def test_an_error_in_getting_the_token_is_the_callers(unused_address: str) -> None:
    def login() -> str:
        raise errors.AgentUnavailable("the agent is locked")

    with Client(Target(unused_address), login) as client:
        with pytest.raises(errors.AgentUnavailable):
            client.auth_check()
        with pytest.raises(errors.AgentUnavailable):
            next(client.watch("pr_1"))


@pytest.mark.parametrize("token", ["", "two words", "line\n", "käse", "\x00"])
def test_what_is_no_token_is_not_sent(unused_address: str, token: str) -> None:
    client = Client(Target(unused_address), token)
    with client, pytest.raises(errors.NotAuthenticated, match="none"):
        client.auth_check()


def test_a_token_longer_than_the_server_takes_is_not_sent(script: Script) -> None:
    def behavior(request: Any, context: Any) -> pb.AuthCheckResponse:
        return pb.AuthCheckResponse()

    address = script(AuthCheck=behavior)
    with Client(Target(address), "a" * MAX_TOKEN) as client:
        client.auth_check()
    client = Client(Target(address), "a" * (MAX_TOKEN + 1))
    with client, pytest.raises(errors.NotAuthenticated, match="8193 bytes") as caught:
        client.auth_check()
    assert "groups" in caught.value.fix
    assert "aaa" not in str(caught.value)


def test_words_of_a_newer_server_are_never_success(script: Script) -> None:
    def watch(request: Any, context: Any) -> Iterator[pb.WatchPromotionResponse]:
        progress = pb.Progress(phase=99, items=[pb.ItemProgress(ref="a:1")])  # type: ignore[arg-type]
        yield pb.WatchPromotionResponse(sequence=1, progress=progress)
        promotion = pb.Promotion(id="pr_1", outcome=99, items=[pb.Item(outcome=99)])  # type: ignore[arg-type]
        yield pb.WatchPromotionResponse(sequence=2, result=promotion)

    def plugins(request: Any, context: Any) -> pb.ListPluginsResponse:
        return pb.ListPluginsResponse(plugins=[pb.Plugin(status=99)])  # type: ignore[arg-type]

    def plan(request: Any, context: Any) -> pb.PlanPromotionResponse:
        return pb.PlanPromotionResponse(items=[pb.PlannedItem()])

    address = script(WatchPromotion=watch, ListPlugins=plugins, PlanPromotion=plan)
    with Client(Target(address), "t") as client:
        progress, result = client.watch("pr_1")
        assert isinstance(progress, Progress)
        assert progress.phase is Phase.STAGE
        assert progress.items[0].phase is Phase.PLAN
        assert isinstance(result, Promotion)
        assert result.outcome is Outcome.FAILED
        assert result.items[0].outcome is Outcome.FAILED
        assert client.plugins()[0].status is PluginStatus.QUARANTINED
        assert client.plan(REQUEST).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, given: client.get(given),
        lambda client, given: client.cancel(given),
        lambda client, given: next(client.watch(given)),
        lambda client, given: next(client.manifest(given)),
    ],
    ids=["get", "cancel", "watch", "manifest"],
)
def test_what_can_be_no_id_is_not_sent(
    ask: Callable[[Client, str], object], unused_address: str
) -> None:
    with Client(Target(unused_address), "t") as client:
        for given in ("", "pr_", "pr_\u2028", "1", "pr_../x"):
            with pytest.raises(errors.PromotionNotFound, match="not the id of a promotion"):
                ask(client, given)
        with pytest.raises(errors.InvalidReference):
            next(client.manifest("pr_1", "a\u200b:1"))


UNSEEN = PromotionRequest(("app\u200b:v1",), "prod", "dev")
HIDDEN = ActivationRequest("spa:shop\u202e:1", "prod")


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.start(UNSEEN),
        lambda client: client.promote(UNSEEN),
        lambda client: client.plan(UNSEEN),
        lambda client: next(client.export_plan(UNSEEN)),
        lambda client: client.auth_check(UNSEEN),
        lambda client: client.start_activation(HIDDEN),
        lambda client: client.plan_activation(HIDDEN),
    ],
    ids=["start", "promote", "plan", "export", "explain", "activate", "plan of activation"],
)
def test_what_no_request_may_hold_is_not_sent(
    ask: Callable[[Client], object], unused_address: str
) -> None:
    with (
        Client(Target(unused_address), "t") as client,
        pytest.raises(errors.InvalidReference, match="can't be seen"),
    ):
        ask(client)
