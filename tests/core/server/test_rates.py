"""How often anybody may call, what they are told, and what it costs us to remember them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imgctl_core import errors
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.server import rates as rates_module
from imgctl_core.server.rates import Buckets, Rates, network_of
from imgctl_core.server.run import server_of
from imgctl_core.settings import load_settings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(rate=10, burst=5, clock=clock)
    assert [buckets.take("a") for _ in range(5)] == [0] * 5
    assert buckets.take("a") == pytest.approx(0.1)
    # Somebody else has a bucket of their own, and asking in vain costs nothing.
    assert buckets.take("b") == 0
    assert buckets.take("a") == pytest.approx(0.1)
    clock.now += 0.1
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    clock.now += 3600
    assert [buckets.take("a") for _ in range(6)][:5] == [0] * 5


def test_over_time_it_is_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(rate=7, burst=3, clock=clock)
    taken = 0
    for _ in range(10_000):
        clock.now += 0.01
        taken += buckets.take("a") == 0
    assert taken == pytest.approx(7 * 100, abs=4)


def test_a_rate_of_zero_is_no_limit_and_remembers_nobody() -> None:
    buckets = Buckets(0, 1)
    assert not any(buckets.take("a") for _ in range(1000))
    assert len(buckets) == 0


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "MAX_KEPT", 100)
    buckets = Buckets(rate=0.001, burst=1, clock=Clock())
    for number in range(1000):
        buckets.take(str(number))
    assert len(buckets) == 100
    # Whoever came last is known still.
    assert buckets.take("999") > 0


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
    ],
)
def test_what_one_peer_is(host: str, network: str) -> None:
    assert network_of(host) == network


def _auth_check(running: Any, token: str) -> grpc.StatusCode:
    stub: Any = imgctl_pb2_grpc.ImgCtlStub(running.channel())
    try:
        stub.AuthCheck(
            pb.AuthCheckRequest(), metadata=[("authorization", f"Bearer {token}")], timeout=10
        )
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def test_a_peer_is_stopped_before_its_tokens_are_looked_at(serve: Callable[..., Any]) -> None:
    running = serve(rates=Rates(peers=Buckets(0.1, 3)))
    codes = [_auth_check(running, "forged") for _ in range(5)]
    refused = [grpc.StatusCode.UNAUTHENTICATED] * 3
    assert codes == [*refused, *[grpc.StatusCode.RESOURCE_EXHAUSTED] * 2]
    assert running.verifier.seen == ["forged"] * 3
    event, fields = running.events[-1]
    assert event == "server.limited"
    assert (fields["actor"], fields["method"]) == (None, "/imgctl.v1.ImgCtl/AuthCheck")
    # A load balancer is always answered.
    stub: Any = health_pb2_grpc.HealthStub(running.channel())
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_an_actor_is_stopped_and_told_how_long_to_wait(serve: Callable[..., Any]) -> None:
    running = serve(rates=Rates(actors=Buckets(0.1, 3)))
    client = running.client()
    for _ in range(3):
        client.auth_check()
    with pytest.raises(errors.RateLimited, match="too many calls from you") as caught:
        client.auth_check()
    assert caught.value.wait == pytest.approx(10, abs=1)
    assert caught.value.fix.startswith("wait ")
    assert caught.value.temporary
    # Streams are calls, too.
    with pytest.raises(errors.RateLimited):
        next(client.watch("pr_1"))
    event, fields = running.events[-1]
    assert (event, fields["actor"]["sub"]) == ("server.limited", "Cg5qYW5lEgNzc2g")
    # Somebody else from the same address is not meant, welcome or not.
    with pytest.raises(errors.NotAuthorized):
        running.client("stranger").auth_check()


def test_the_wait_travels_as_retry_info(serve: Callable[..., Any]) -> None:
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    running = serve(rates=Rates(peers=Buckets(0.1, 1)))
    _auth_check(running, "good")
    stub: Any = imgctl_pb2_grpc.ImgCtlStub(running.channel())
    with pytest.raises(grpc.RpcError) as caught:
        stub.AuthCheck(pb.AuthCheckRequest(), timeout=10)
    call: Any = caught.value
    status = rpc_status.from_call(call)
    assert status is not None
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert info.reason == "RATE_LIMITED"
    assert 5 < retry.retry_delay.ToTimedelta().total_seconds() <= 10


def test_the_settings_set_the_limits(tmp_path: Any) -> None:
    from imgctl_core.client.api import Client
    from imgctl_core.client.target import Target
    from imgctl_core.server.assemble import assemble, configure_plugins

    environ = {
        "OIDC_ISSUER_URL": "http://127.0.0.1:9/dex",
        "OIDC_AUDIENCE": "https://imgctl.example.com",
        "IMGCTL_REGISTRY_DEV": "http://127.0.0.1:1",
        "IMGCTL_REGISTRY_PROD": "http://127.0.0.1:2",
        "IMGCTL_BIND_ADDRESS": "127.0.0.1:0",
        "IMGCTL_AUDIT_LOG": str(tmp_path / "audit.jsonl"),
        "IMGCTL_LIMITS_PEER_RATE": "0.1",
        "IMGCTL_LIMITS_PEER_BURST": "2",
    }
    settings = load_settings(environ=environ)
    parts = assemble(settings, configure_plugins(settings))
    try:
        with server_of(settings, parts) as server:
            for error in (errors.TokenRefused, errors.TokenRefused, errors.RateLimited):
                with Client(Target(server.address), "x") as client, pytest.raises(error):
                    client.auth_check()
    finally:
        parts.close()
