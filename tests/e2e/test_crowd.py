"""Hundreds of connections that do nothing, and some that do it slowly: work goes on."""

from __future__ import annotations

import json
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imgctl_core.audit import verify
from imgctl_core.testing.images import sample_image
from imgctl_core.testing.tls import TlsFiles, make_tls_files

IDLE, SLOW = 500, 50
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
#: As far as the first record of TLS says how long it is, and no further.
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


def test_a_second_server_never_shares_a_port(stack: Any, registries: Any, tmp_path: Path) -> None:
    stack.start()
    first, address = stack.process, stack.client["IMGCTL_SERVER"]
    other = {"IMGCTL_BIND_ADDRESS": address, "IMGCTL_AUDIT_LOG": str(tmp_path / "other.jsonl")}
    with pytest.raises(RuntimeError, match="can't be bound: it is in use"):
        stack.start(**other)
    stack.process = first
    assert stack.run("auth-check").code == 0


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * (IDLE + SLOW)
    if hard not in (resource.RLIM_INFINITY,) and hard < wanted:
        pytest.skip(f"the system allows {hard} open files, and this needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.ca))
    context.set_alpn_protocols(["h2"])
    return context


def test_idle_and_slow_connections_keep_nobody_from_working(
    stack: Any, registries: Any, tmp_path: Path, many_files: None
) -> None:
    dev, _, prod = registries
    image = dev.put_image("app", "v1", sample_image("crowd"))
    files = make_tls_files(tmp_path / "tls")
    stack.start(IMGCTL_TLS_CERT=str(files.cert), IMGCTL_TLS_KEY=str(files.key))
    host, _, port = stack.client["IMGCTL_SERVER"].rpartition(":")
    stack.client |= {
        "IMGCTL_SERVER": f"https://{host}:{port}",
        "IMGCTL_CA_FILE": str(files.ca),
    }
    address, context = (host, int(port)), _context(files)

    with ExitStack() as held:

        def idle(number: int) -> None:
            """Shake hands, twice, and never call."""
            plain = socket.create_connection(address, 30)
            sock = context.wrap_socket(plain, server_hostname=host)
            held.callback(sock.close)
            sock.sendall(PREFACE + SETTINGS)
            assert sock.recv(9)

        def slow(number: int) -> None:
            """Begin, and stop in the middle: of TLS, or of HTTP/2's preface."""
            plain = socket.create_connection(address, 30)
            held.callback(plain.close)
            if number % 2:
                plain.sendall(HALF_HELLO)
                return
            sock = context.wrap_socket(plain, server_hostname=host)
            held.callback(sock.close)
            sock.sendall(PREFACE[: number % len(PREFACE)])

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(idle, range(IDLE)))
            list(pool.map(slow, range(SLOW)))

        begun = time.monotonic()
        credentials = grpc.ssl_channel_credentials(files.ca.read_bytes())
        options = [("grpc.enable_http_proxy", 0)]
        channel: Any = grpc.secure_channel(f"{host}:{port}", credentials, options=options)
        with channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        done = stack.promote("app:v1", "-o", "json")
        assert done.code == 0, done.err
        assert time.monotonic() - begun < 20
    assert json.loads(done.out)["outcome"] == "promoted"
    assert prod.tags("app")["v1"] == image.digest
    assert verify(stack.audit_log).problems == ()
