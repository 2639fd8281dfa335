"""The limits of a connection, as a stranger with a raw socket meets them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imgctl_core.server import limits
from imgctl_core.wirelimits import MAX_METADATA

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Types of frames and names of settings (RFC 9113 sections 6 and 6.5.2).
SETTINGS, PING, GOAWAY = 4, 6, 7
MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE = 3, 6


def _frame(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + bytes(4) + payload


def _frames(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield frames until the other side closes; a time-out is an error of the test."""
    with sock.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            yield head[3], stream.read(int.from_bytes(head[:3], "big"))


@pytest.fixture
def connect() -> Iterator[Callable[[Any], socket.socket]]:
    socks = []

    def start(running: Any) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", running.server.port), 20)
        socks.append(sock)
        sock.sendall(PREFACE + _frame(SETTINGS))
        return sock

    yield start
    for sock in socks:
        sock.close()


def test_what_a_connection_may_have_is_said_at_its_beginning(
    running: Any, connect: Callable[[Any], socket.socket]
) -> None:
    kind, payload = next(_frames(connect(running)))
    assert kind == SETTINGS
    said = dict(struct.iter_unpack(">HI", payload))
    assert said[MAX_CONCURRENT_STREAMS] == limits.STREAMS
    assert said[MAX_HEADER_LIST_SIZE] == MAX_METADATA


def test_pings_without_end_end_the_connection(
    running: Any, connect: Callable[[Any], socket.socket]
) -> None:
    sock = connect(running)
    sock.sendall(_frame(PING, b"12345678") * 20)
    farewells = [payload for kind, payload in _frames(sock) if kind == GOAWAY]
    assert b"too_many_pings" in farewells[-1]


@pytest.mark.parametrize("limit", ["IDLE_SECONDS", "AGE_SECONDS"])
def test_a_connection_without_calls_ends(
    serve: Callable[..., Any],
    connect: Callable[[Any], socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
) -> None:
    monkeypatch.setattr(limits, limit, 0.2)
    assert any(kind == GOAWAY for kind, _ in _frames(connect(serve())))
