"""Servers that say what the test tells them, good or bad."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from imgctl_core._proto import imgctl_pb2 as pb

SERVICE = "imgctl.v1.ImgCtl"


@pytest.fixture
def script() -> Iterator[Callable[..., str]]:
    """Start a gRPC server with the methods given and return its address."""
    descriptor = pb.DESCRIPTOR.services_by_name["ImgCtl"]
    with ExitStack() as stack:

        def start(**methods: Any) -> str:
            handlers: dict[str, Any] = {}
            for name, behavior in methods.items():
                request = getattr(pb, descriptor.methods_by_name[name].input_type.name)
                stream = descriptor.methods_by_name[name].server_streaming
                make: Any = (
                    grpc.unary_stream_rpc_method_handler
                    if stream
                    else grpc.unary_unary_rpc_method_handler
                )
                handlers[name] = make(
                    behavior,
                    request_deserializer=request.FromString,
                    response_serializer=lambda message: message.SerializeToString(),
                )
            pool = stack.enter_context(ThreadPoolExecutor(4))
            # As our server's: between gRPC's own two limits it refuses by lot.
            size = ("grpc.max_metadata_size", "grpc.absolute_max_metadata_size")
            server = grpc.server(pool, options=[(name, 32 * 1024) for name in size])
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(SERVICE, handlers),)
            )
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            stack.callback(lambda: server.stop(0).wait())
            return f"127.0.0.1:{port}"

        yield start


@pytest.fixture
def raw_server() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Start a TCP server that hands every connection to a function; return its address."""
    with ExitStack() as stack:

        def start(serve: Callable[[socket.socket], None]) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    with connection:
                        serve(connection)

            thread = threading.Thread(target=run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return f"127.0.0.1:{listener.getsockname()[1]}"

        yield start
