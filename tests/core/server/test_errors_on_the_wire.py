"""No text of an error that isn't ours leaves the server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from imgctl_core import errors
from imgctl_core.server.interceptors import ErrorInterceptor

SECRET = "/srv/keys/tls.pem password=hunter2"


def test_a_bug_in_a_unary_method_becomes_an_incident(
    running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running.engine.errors["get"] = RuntimeError(SECRET)
    with caplog.at_level(logging.ERROR), pytest.raises(errors.InternalError) as caught:
        running.client().get("pr_1")
    assert "hunter2" not in f"{caught.value} {caught.value.fix}"
    assert caught.value.id.startswith("in_")
    assert caught.value.id in caught.value.message
    assert caught.value.id in caplog.text
    assert "hunter2" in caplog.text


@pytest.mark.parametrize("late", [False, True])
def test_a_bug_in_a_stream_becomes_an_incident(
    running: Any, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if late:
        running.engine.breaks_late = RuntimeError(SECRET)
    else:
        running.engine.errors["watch"] = RuntimeError(SECRET)
    seen = []
    with caplog.at_level(logging.ERROR), pytest.raises(errors.InternalError) as caught:
        seen.extend(running.client().watch("pr_1"))
    assert len(seen) == int(late)
    assert "hunter2" not in f"{caught.value} {caught.value.fix}"
    assert caught.value.id in caplog.text


def test_a_watch_that_ends_without_a_result_is_an_error(running: Any) -> None:
    running.engine.start(_request(), None)
    running.engine.quits_early = True
    with pytest.raises(errors.InternalError):
        list(running.client().watch("pr_1"))


def _request() -> Any:
    from imgctl_core.models import PromotionRequest

    return PromotionRequest(("a:1",), "prod")


@pytest.fixture
def foreign() -> Iterator[grpc.Channel]:
    """A service of another maker behind the interceptor, with all four kinds of method."""

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"abort":
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "mine")
        if request == b"code":
            context.set_code(grpc.StatusCode.DATA_LOSS)
        raise RuntimeError(SECRET)

    def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"one"
        yield unary(request, context)

    def many(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return unary(next(requests), context)

    def both(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        return stream(next(requests), context)

    handlers: dict[str, Any] = {
        "UU": grpc.unary_unary_rpc_method_handler(unary),
        "US": grpc.unary_stream_rpc_method_handler(stream),
        "SU": grpc.stream_unary_rpc_method_handler(many),
        "SS": grpc.stream_stream_rpc_method_handler(both),
    }
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, interceptors=[ErrorInterceptor()])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield channel
        server.stop(0).wait()


def _invoke(channel: Any, kind: str, request: bytes) -> grpc.RpcError:
    method: Any = {
        "UU": channel.unary_unary,
        "US": channel.unary_stream,
        "SU": channel.stream_unary,
        "SS": channel.stream_stream,
    }[kind](f"/t.T/{kind}")
    sent = iter([request]) if kind[0] == "S" else request
    with pytest.raises(grpc.RpcError) as caught:
        list(method(sent, timeout=10))
    return caught.value


@pytest.mark.parametrize("kind", ["UU", "US", "SU", "SS"])
def test_all_four_kinds_of_method_are_wrapped(foreign: Any, kind: str) -> None:
    for request in (b"raise", b"code"):
        error: Any = _invoke(foreign, kind, request)
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "hunter2" not in str(error)


@pytest.mark.parametrize("kind", ["UU", "US", "SU", "SS"])
def test_an_abort_passes(foreign: Any, kind: str) -> None:
    error: Any = _invoke(foreign, kind, b"abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.OUT_OF_RANGE, "mine")
