"""The server as a whole: its port, its limits, and how it ends."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imgctl_core import errors
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core._version import __version__
from imgctl_core.models import Outcome, PromotionRequest
from imgctl_core.server import limits
from imgctl_core.server.binding import Binding
from imgctl_core.wirelimits import MAX_REQUEST

REQUEST = PromotionRequest(("a:1",), "prod")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _health(running: Any) -> int:
    stub: Any = health_pb2_grpc.HealthStub(running.channel())
    return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_port_0_is_chosen_and_told(serve: Callable[..., Any], host: str) -> None:
    running = serve(Binding(host))
    assert running.server.port > 0
    assert running.server.address == f"{host}:{running.server.port}"
    assert running.client().auth_check().server_version == "1.2.3"


def test_two_servers_never_share_a_port(serve: Callable[..., Any]) -> None:
    first = serve()
    with pytest.raises(errors.InvalidSetting, match=f"{first.server.address} can't be bound"):
        serve(Binding("127.0.0.1", first.server.port))


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
def test_half_of_localhost_is_not_enough(serve: Callable[..., Any], taken: str) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.socket(family) as other:
        try:
            other.bind((taken, 0))
        except OSError:
            pytest.skip(f"this system has no {taken}")
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(errors.InvalidSetting, match=f":{port} can't be bound"):
            serve(Binding("localhost", port))


def test_a_refused_binding_leaves_no_threads(serve: Callable[..., Any]) -> None:
    first = serve()
    first.client().auth_check()
    before = threading.active_count()
    with pytest.raises(errors.InvalidSetting):
        serve(Binding("127.0.0.1", first.server.port))
    assert threading.active_count() <= before


def test_a_network_address_without_tls_is_never_bound(serve: Callable[..., Any]) -> None:
    with pytest.raises(errors.InvalidSetting, match="no TLS"):
        serve(Binding("0.0.0.0"))


def test_a_plaintext_port_that_was_asked_for_serves(serve: Callable[..., Any]) -> None:
    running = serve(Binding("0.0.0.0", insecure_plaintext=True))
    assert running.client(address=f"127.0.0.1:{running.server.port}").auth_check()


def test_a_unix_socket_is_the_owners_alone(serve: Callable[..., Any], short_tmp: Path) -> None:
    path = short_tmp / "i.sock"
    running = serve(Binding("", path=path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert running.server.address == f"unix:{path}"
    assert running.client().auth_check().actor.name == "Jane"
    fields = running.events[-1][1]
    assert (fields["peer"], fields["protected"]) == ("unix", True)
    assert fields["client"].startswith(f"imgctl/{__version__} ")
    running.server.stop(0.0)
    assert not path.exists()


def test_a_unix_socket_is_taken_from_the_dead_only(
    serve: Callable[..., Any], short_tmp: Path
) -> None:
    path = short_tmp / "i.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = serve(Binding("", path=path))
    with pytest.raises(errors.InvalidSetting, match="another server listens"):
        serve(Binding("", path=path))
    assert first.client().auth_check()


def test_where_no_socket_can_be_made_is_said(serve: Callable[..., Any], short_tmp: Path) -> None:
    (short_tmp / "file").write_text("precious")
    (short_tmp / "link").symlink_to(short_tmp / "elsewhere")
    for name, text in (
        ("file", "there already, and no socket"),
        ("link", "there already, and no socket"),
        ("no/i.sock", "folder .* does not exist"),
        ("x" * 120, "longer than 107 bytes"),
    ):
        with pytest.raises(errors.InvalidSetting, match=text) as caught:
            serve(Binding("", path=short_tmp / name))
        assert caught.value.fix
    assert (short_tmp / "file").read_text() == "precious"


def test_a_socket_where_everybody_may_write_is_warned_about(short_tmp: Path) -> None:
    binding = Binding("", path=short_tmp / "i.sock")
    assert binding.check() == ()
    short_tmp.chmod(0o777)
    (warning,) = binding.check()
    assert f"everybody may write in {short_tmp}" in warning


def test_a_request_over_the_limit_is_refused(running: Any) -> None:
    stub: Any = imgctl_pb2_grpc.ImgCtlStub(running.channel())
    message = pb.StartPromotionRequest(refs=["x" * (MAX_REQUEST + 1)])
    metadata = [("authorization", "Bearer good")]
    with pytest.raises(grpc.RpcError) as caught:
        stub.StartPromotion(message, metadata=metadata, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    # The client says so before it sends anything.
    with pytest.raises(errors.InvalidReference, match="longer than"):
        running.client().start(PromotionRequest(("x" * (MAX_REQUEST + 1),), "prod"))


def test_health_and_short_calls_answer_while_everything_else_is_taken(
    serve: Callable[..., Any],
) -> None:
    running = serve(max_promotions=1)
    capacity = limits.Capacity.for_promotions(1)
    engine = running.engine
    engine.hold_plan = threading.Event()
    stub: Any = imgctl_pb2_grpc.ImgCtlStub(running.channel())
    metadata = [("authorization", "Bearer good")]
    held: list[Any] = [
        stub.Promote.future(pb.PromoteRequest(ref="a:1", destination="prod"), metadata=metadata)
        for _ in range(capacity.promotes)
    ]
    assert engine.wait_for(lambda: engine.watchers == capacity.promotes)
    plan = pb.PlanPromotionRequest(refs=["a:1"], destination="prod")
    held.append(stub.PlanPromotion.future(plan, metadata=metadata))
    assert engine.plan_began.wait(10)
    watch = pb.WatchPromotionRequest(id="pr_1")
    watches = [stub.WatchPromotion(watch, metadata=metadata) for _ in range(capacity.watches)]
    for stream in watches:
        next(stream)

    client = running.client(timeout=5.0)
    assert _health(running) == SERVING
    assert client.auth_check().destinations == ("prod",)
    assert client.get("pr_1").id == "pr_1"
    for call in (client.promote, client.plan):
        with pytest.raises(errors.ServerBusy, match="at once"):
            call(REQUEST)
    with pytest.raises(errors.ServerBusy, match="watcher"):
        next(client.watch("pr_1"))
    for call in [*held, *watches]:
        call.cancel()
    assert engine.wait_for(lambda: engine.watchers == 0)


def test_calls_past_those_that_wait_for_a_thread_are_refused_at_once(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(max_promotions=1)
    go_on, over = threading.Event(), threading.Semaphore(0)
    verify = running.verifier.verify
    monkeypatch.setattr(running.verifier, "verify", lambda token: go_on.wait(60) and verify(token))
    most = limits.Capacity.for_promotions(1).threads + 64
    # Two connections: each has a limit of its own.
    own = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    opened: list[Any] = [grpc.insecure_channel(running.server.address, options=own) for _ in "12"]
    with opened[0], opened[1]:
        calls: list[Any] = []
        for number in range(most + 20):
            method = opened[number % 2].unary_unary("/imgctl.v1.ImgCtl/AuthCheck")
            calls.append(method.future(b"", metadata=[("authorization", "Bearer good")]))
            calls[-1].add_done_callback(lambda _: over.release())
        assert all(over.acquire(timeout=20) for _ in range(20))
        refused = [call for call in calls if call.done()]
        go_on.set()
        assert [call.code() for call in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 20
        assert all(call.result(timeout=20) for call in calls if call not in refused)


def test_health_says_not_serving_until_tokens_can_be_checked(serve: Callable[..., Any]) -> None:
    ready = threading.Event()
    running = serve(ready=ready.is_set)
    assert _health(running) == NOT_SERVING
    ready.set()
    assert _health(running) == SERVING
    ready.clear()
    assert _health(running) == NOT_SERVING


def test_a_bug_in_readiness_tells_strangers_nothing(serve: Callable[..., Any]) -> None:
    def ready() -> bool:
        raise RuntimeError("hunter2")

    with pytest.raises(grpc.RpcError) as caught:
        _health(serve(ready=ready))
    assert "hunter2" not in str(caught.value)


def test_drain_lets_promotions_end_and_says_not_serving_meanwhile(running: Any) -> None:
    client, engine = running.client(), running.engine
    began, go_on = threading.Event(), threading.Event()

    def drain(seconds: float) -> None:
        engine.drained.append(seconds)
        began.set()
        assert go_on.wait(10)

    engine.drain = drain
    with ThreadPoolExecutor(2) as pool:
        promoted = pool.submit(client.promote, REQUEST)
        assert engine.wait_for(lambda: engine.watchers == 1)
        drained = pool.submit(running.server.drain, 7.0)
        assert began.wait(10)
        assert _health(running) == NOT_SERVING
        # Whoever waits for a promotion may look at it and come back to it.
        assert client.get("pr_1").id == "pr_1"
        engine.end("pr_1", Outcome.PROMOTED)
        assert promoted.result(10).outcome is Outcome.PROMOTED
        go_on.set()
        drained.result(10)
    assert engine.drained == [7.0]
    with pytest.raises(errors.ServerUnreachable):
        running.client().auth_check()


def test_stop_ends_though_somebody_watches(running: Any) -> None:
    client = running.client()
    client.start(REQUEST)
    events = client.watch("pr_1")
    next(events)
    running.server.stop(0.0)
    with pytest.raises(errors.StreamCut) as caught:
        list(events)
    assert caught.value.id == "pr_1"
    assert running.engine.wait_for(lambda: running.engine.watchers == 0)
    assert running.engine.cancelled == []
