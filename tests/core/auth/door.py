"""The door of a real server: what somebody hears who comes with a token, over a channel."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.auth.policy import Policy
from imgctl_core.auth.tokens import TokenVerifier
from imgctl_core.models import JSON, Actor
from imgctl_core.server.app import create_server
from imgctl_core.server.binding import Binding

#: What the server says to everybody whose token is no good.
TEXT = "the server did not accept the token"
SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """How a call ended. `name` is who the server took the caller for."""

    code: grpc.StatusCode
    details: str = ""
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    name: str = ""


class Door:
    """The server takes the verifier that it is given last, and records what it turns away."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, JSON]]] = []
        self.ready = True
        self.address = ""
        self._verifier: TokenVerifier | None = None
        self._stub: Any = None
        self._health: Any = None
        self._lock = threading.Lock()

    def use(self, verifier: TokenVerifier | None) -> None:
        self._verifier = verifier
        self.ready = True
        self.events.clear()

    def verify(self, token: str) -> Actor:
        assert self._verifier is not None
        return self._verifier.verify(token)

    def record(self, event: str, fields: Mapping[str, JSON]) -> None:
        with self._lock:
            self.events.append((event, dict(fields)))

    def connect(self, channel: grpc.Channel) -> None:
        self._stub = imgctl_pb2_grpc.ImgCtlStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    def knock(self, token: str, scheme: str = "Bearer ") -> Answer:
        """Ask who one is, with this token."""
        return self.call([("authorization", scheme + token)])

    def call(self, metadata: list[tuple[str, Any]]) -> Answer:
        try:
            found = self._stub.AuthCheck(pb.AuthCheckRequest(), metadata=metadata, timeout=SECONDS)
        except grpc.RpcError as error:
            trailers: Any = error.trailing_metadata()
            return Answer(error.code(), error.details() or "", tuple(map(tuple, trailers)))
        return Answer(grpc.StatusCode.OK, name=found.name)

    def healthy(self) -> bool:
        answer = self._health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@contextmanager
def opened() -> Iterator[Door]:
    """Start a server and connect to it. The group that counts is `promoters`."""
    door = Door()
    nothing: Any = SimpleNamespace(destinations=lambda actor: ())
    server = create_server(
        Binding("127.0.0.1"),
        nothing,
        nothing,
        door,
        Policy(allowed_groups=("promoters",), environments={}),
        audit=door.record,
        ready=lambda: door.ready,
    )
    options = [("grpc.enable_http_proxy", 0)]
    with server, grpc.insecure_channel(server.address, options=options) as channel:
        door.address = server.address
        door.connect(channel)
        yield door
