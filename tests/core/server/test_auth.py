"""Who gets past the door, and what they are told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imgctl_core import errors
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.auth.refusal import WrongConnector, token_refused
from imgctl_core.errors import IssuerUnreachable
from imgctl_core.models import Actor
from imgctl_core.server.interceptors import AuthInterceptor
from imgctl_core.server.records import Records

Metadata = list[tuple[str, Any]]


def _call(running: Any, metadata: Metadata) -> Any:
    """Return the answer, or the error."""
    stub: Any = imgctl_pb2_grpc.ImgCtlStub(running.channel())
    try:
        return stub.AuthCheck(pb.AuthCheckRequest(), metadata=metadata, timeout=10)
    except grpc.RpcError as error:
        return error


REFUSED: dict[str, Metadata] = {
    "no header": [],
    "two": [("authorization", "Bearer good"), ("authorization", "Bearer good")],
    "comma-joined": [("authorization", "Bearer good, Bearer good")],
    "basic": [("authorization", "Basic good")],
    "no scheme": [("authorization", "good")],
    "scheme alone": [("authorization", "Bearer")],
    "empty": [("authorization", "")],
    "empty token": [("authorization", "Bearer ")],
    "two spaces": [("authorization", "Bearer  good")],
    "binary header": [("authorization-bin", b"Bearer good")],
    "other header": [("x-authorization", "Bearer good")],
    "forged": [("authorization", "Bearer forged")],
    "9 kB": [("authorization", "Bearer " + "a" * 9000)],
}


@pytest.mark.parametrize("metadata", REFUSED.values(), ids=REFUSED.keys())
def test_all_bad_tokens_get_one_answer(running: Any, metadata: Metadata) -> None:
    answer = _call(running, metadata)
    generic = _call(running, [("authorization", "Bearer rubbish")])
    assert isinstance(answer, grpc.RpcError)
    assert answer.code() is grpc.StatusCode.UNAUTHENTICATED
    assert answer.details() == generic.details()
    assert answer.trailing_metadata() == generic.trailing_metadata()
    assert "signature" not in str(answer)
    assert running.events[0][0] == "authn.denied"
    assert running.events[0][1]["method"] == "/imgctl.v1.ImgCtl/AuthCheck"
    assert "forged" not in str(running.events[0])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(running: Any, scheme: str) -> None:
    answer = _call(running, [("authorization", f"{scheme} good")])
    assert isinstance(answer, pb.AuthCheckResponse)
    assert answer.matched_group == "promoters"


def test_a_token_just_short_enough_is_looked_at(running: Any) -> None:
    _call(running, [("authorization", "Bearer " + "a" * 8192)])
    _call(running, [("authorization", "Bearer " + "b" * 8193)])
    assert running.verifier.seen == ["a" * 8192]


def test_headers_past_the_limit_are_always_refused(running: Any) -> None:
    for _ in range(8):
        answer = _call(running, [("authorization", "Bearer " + "a" * 40_000)])
        assert isinstance(answer, grpc.RpcError)
        assert answer.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # ... and 30 kB always come as far as our own check.
        answer = _call(running, [("authorization", "Bearer " + "a" * 30_000)])
        assert answer.code() is grpc.StatusCode.UNAUTHENTICATED


def test_somebody_known_and_not_welcome_hears_why(running: Any) -> None:
    with pytest.raises(errors.NotAuthorized, match="no group") as caught:
        running.client("stranger").auth_check()
    assert caught.value.fix == "ask for one"
    event, fields = running.events[0]
    assert event == "authz.denied"
    assert fields["actor"]["sub"] == "stranger"
    assert fields["reason"] == "NOT_AUTHORIZED"
    assert fields["peer"].startswith("127.0.0.1:")


def test_why_a_token_was_refused_is_on_record_and_only_there(running: Any) -> None:
    running.verifier.error = token_refused("times.expired")
    with pytest.raises(errors.TokenRefused) as caught:
        running.client().auth_check()
    assert "times" not in str(caught.value) + caught.value.fix
    assert running.events[0][0] == "authn.denied"
    assert running.events[0][1]["cause"] == "times.expired"


def test_of_somebody_who_came_by_the_wrong_way_it_is_on_record_who(running: Any) -> None:
    who = Actor("https://dex.example.com", "mallory", connector="github")
    running.verifier.error = WrongConnector("not by that", fix="by another", actor=who)
    with pytest.raises(errors.NotAuthorized, match="not by that") as caught:
        running.client().auth_check()
    assert caught.value.fix == "by another"
    event, fields = running.events[0]
    assert event == "authz.denied"
    assert (fields["actor"]["sub"], fields["actor"]["connector"]) == ("mallory", "github")


def test_an_issuer_that_is_down_is_no_bad_token(running: Any) -> None:
    running.verifier.error = IssuerUnreachable("the keys of https://dex can't be fetched")
    with pytest.raises(IssuerUnreachable, match="keys"):
        running.client().auth_check()
    assert running.events == []


def test_a_bug_in_the_check_lets_nobody_in_and_says_nothing(running: Any) -> None:
    running.verifier.error = RuntimeError("secret of the key store")
    with pytest.raises(errors.InternalError) as caught:
        running.client().auth_check()
    assert "secret" not in str(caught.value)
    assert running.engine.requests == []


@pytest.mark.parametrize("method", pb.DESCRIPTOR.services_by_name["ImgCtl"].methods_by_name)
def test_no_method_is_open(running: Any, method: str) -> None:
    descriptor = pb.DESCRIPTOR.services_by_name["ImgCtl"].methods_by_name[method]
    path = f"/imgctl.v1.ImgCtl/{method}"
    channel = running.channel()

    def call() -> None:
        if descriptor.server_streaming:
            list(channel.unary_stream(path)(b"", timeout=10))
        else:
            channel.unary_unary(path)(b"", timeout=10)

    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_health_needs_no_token(running: Any) -> None:
    stub: Any = health_pb2_grpc.HealthStub(running.channel())
    for service in ("", "imgctl.v1.ImgCtl"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/check",
        "/grpc.health.v1.health/Check",
        "/grpc.health.v1.Health/Check/",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/imgctl.v1.ImgCtl/promote",
    ],
)
def test_nothing_else_is_there(running: Any, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        running.channel().unary_unary(path)(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


class FakeContext:
    """As much of a context as authentication looks at."""

    def __init__(self, peer: str, level: bytes | None) -> None:
        self._peer = peer
        self._level = level

    def peer(self) -> str:
        return self._peer

    def auth_context(self) -> dict[str, list[bytes]]:
        return {} if self._level is None else {"security_level": [self._level]}

    def invocation_metadata(self) -> Metadata:
        return [("authorization", "Bearer good")]


class Anybody:
    def verify(self, token: str) -> Actor:
        return Actor("i", "s", groups=("g",))

    def admit(self, actor: Actor) -> Actor:
        return actor


@pytest.fixture
def authenticate() -> Callable[[str, bytes | None, bool], str]:
    def run(peer: str, level: bytes | None, insecure: bool) -> str:
        interceptor = AuthInterceptor(
            Anybody(), Anybody(), Records(lambda *_: None), insecure_plaintext=insecure
        )
        context: Any = FakeContext(peer, level)
        return interceptor.authenticate("/m", context).peer.address

    return run


@pytest.mark.parametrize("peer", ["ipv4:10.0.0.5:4711", "ipv6:%5B2001:db8::1%5D:4711"])
@pytest.mark.parametrize("level", [b"TSI_SECURITY_NONE", b"TSI_INTEGRITY_ONLY", None])
def test_a_token_from_afar_in_clear_is_refused(
    authenticate: Callable[[str, bytes | None, bool], str],
    peer: str,
    level: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(errors.NotAuthenticated, match="TLS only"):
        authenticate(peer, level, False)
    assert "in clear" in caplog.text
    assert "good" not in caplog.text
    assert authenticate(peer, level, True)


@pytest.mark.parametrize(
    ("peer", "level", "shown"),
    [
        ("ipv4:10.0.0.5:4711", b"TSI_PRIVACY_AND_INTEGRITY", "10.0.0.5:4711"),
        ("ipv4:127.0.0.1:4711", b"TSI_SECURITY_NONE", "127.0.0.1:4711"),
        ("ipv6:%5B::1%5D:4711", b"TSI_SECURITY_NONE", "[::1]:4711"),
        ("unix:", b"TSI_PRIVACY_AND_INTEGRITY", "unix"),
    ],
)
def test_a_token_over_tls_or_from_here_is_taken(
    authenticate: Callable[[str, bytes | None, bool], str], peer: str, level: bytes, shown: str
) -> None:
    assert authenticate(peer, level, False) == shown
