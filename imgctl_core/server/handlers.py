"""gRPC's handlers of methods, taken apart and put together again around another function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

# gRPC hands messages through untyped: a handler takes and gives what its method does.
Behavior: TypeAlias = Callable[[Any, grpc.ServicerContext], Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], "Handler | None"]


def behavior_of(handler: Handler) -> Behavior:
    """Return the function that serves a method, of whichever of the four kinds."""
    behavior = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    if behavior is None:
        raise TypeError("a method handler without a method")
    return behavior


def rebuilt(handler: Handler, behavior: Behavior) -> Handler:
    """Return a handler like this one with another function."""
    return _make(handler, behavior, handler.request_streaming, handler.request_deserializer)


def reading(handler: Handler, behavior: Behavior) -> Handler:
    """Return a handler with a function that reads the request itself, as bytes, from a stream.

    On the wire there is no difference: a stream of one request is a request.
    """
    return _make(handler, behavior, True, None)


def _make(handler: Handler, behavior: Behavior, streaming: bool, deserializer: Any) -> Handler:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[streaming, handler.response_streaming]
    made: Handler = make(
        behavior,
        request_deserializer=deserializer,
        response_serializer=handler.response_serializer,
    )
    return made
