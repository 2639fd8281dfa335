"""Calls whose request never comes: they hold nobody up, whoever makes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imgctl_core import errors
from imgctl_core.server import arrival, limits
from imgctl_core.server.interceptors import OPEN_METHOD

AUTH_CHECK = "/imgctl.v1.ImgCtl/AuthCheck"
GOOD = [("authorization", "Bearer good")]


class _Calls:
    """Calls of one connection each that have said all but their request."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self._never = threading.Event()
        self._channels: list[Any] = []

    def begin(self, count: int, method: str, metadata: Any = ()) -> list[Any]:
        # A pool of connections of its own: else all channels would share one.
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        channel: Any = grpc.insecure_channel(self._running.server.address, options=options)
        self._channels.append(channel)
        call = channel.stream_unary(method)
        return [call.future(self._nothing(), metadata=metadata) for _ in range(count)]

    def end_requests(self) -> None:
        self._never.set()

    def end(self) -> None:
        self.end_requests()
        for channel in self._channels:
            channel.close()

    def _nothing(self) -> Iterator[bytes]:
        self._never.wait()
        yield from ()


@contextmanager
def _calls(running: Any) -> Iterator[_Calls]:
    calls = _Calls(running)
    try:
        yield calls
    finally:
        calls.end()


def test_a_stranger_is_turned_away_before_the_request_has_come(running: Any) -> None:
    with _calls(running) as calls:
        for call in calls.begin(90, AUTH_CHECK):
            assert call.exception(timeout=20).code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("method", "metadata"), [(OPEN_METHOD, ()), (AUTH_CHECK, GOOD)], ids=["strangers", "known"]
)
def test_whoever_sends_no_request_keeps_no_thread(
    serve: Callable[..., Any], method: str, metadata: Any
) -> None:
    running = serve(max_promotions=1)
    threads = limits.Capacity.for_promotions(1).threads
    with _calls(running) as calls:
        held = calls.begin(90, method, metadata) + calls.begin(90, method, metadata)
        assert len(held) > threads + 64
        # Those that are too many are broken off, or were never let in.
        assert _wait_for(lambda: sum(call.done() for call in held) >= len(held) - limits.LOBBY)
        assert {call.code() for call in held if call.done()} <= {
            grpc.StatusCode.CANCELLED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
        health: Any = health_pb2_grpc.HealthStub(running.channel())
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert running.client().auth_check().actor.name == "Jane"


def test_nobody_is_hurried_while_there_is_room(running: Any) -> None:
    with _calls(running) as calls:
        held = calls.begin(limits.LOBBY, AUTH_CHECK, GOOD)
        assert running.client().auth_check()
        assert running.client().auth_check()
        calls.end_requests()
        answers = {call.exception(timeout=10).code() for call in held}
    assert answers == {grpc.StatusCode.INVALID_ARGUMENT}


def test_a_request_that_comes_when_the_token_may_be_over(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "REQUEST_SECONDS", -1.0)
    with pytest.raises(errors.DeadlineExceeded, match="did not come within"):
        running.client().auth_check()
    assert running.events == []


def test_rubbish_is_looked_at_when_it_is_known_whose_it_is(running: Any) -> None:
    for method in ("AuthCheck", "WatchPromotion"):
        call = running.channel().unary_stream(f"/imgctl.v1.ImgCtl/{method}")
        codes = []
        for metadata in ([], GOOD):
            with pytest.raises(grpc.RpcError) as caught:
                list(call(b"\xff\xff", metadata=metadata, timeout=10))
            codes.append(caught.value.code())
        assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT]


def _wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()
