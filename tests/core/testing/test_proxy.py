"""The proxy passes bytes unchanged over a good line, and makes a bad one bad."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import pytest

from imgctl_core.testing.proxy import FaultProxy, Line
from imgctl_core.testing.registry import Registry
from imgctl_core.testing.tls import TlsFiles

CONTENT = hashlib.shake_128(b"proxy").digest(1_000_000)


class Answer(Protocol):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Ask(Protocol):
    def __call__(self, url: str, method: str = "GET", *args: Any, **kwargs: Any) -> Answer: ...


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        started.put_blob("app", CONTENT)
        yield started


@pytest.fixture
def through(registry: Registry) -> Iterator[Callable[[Line], FaultProxy]]:
    proxy = FaultProxy(registry.host).start()

    def over(line: Line) -> FaultProxy:
        proxy.line = line
        return proxy

    yield over
    proxy.stop()


def _blob(registry: Registry, proxy: FaultProxy) -> str:
    (digest,) = registry.blobs("app")
    return f"http://{proxy.host}/v2/app/blobs/{digest}"


def _read_until_trouble(proxy: FaultProxy, path: str, timeout: float = 5) -> tuple[bytes, str]:
    """Return what came, and how it ended: "end", "reset" or "silence"."""
    came = b""
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
            while piece := client.recv(65536):
                came += piece
    except ConnectionError:
        return came, "reset"
    except TimeoutError:
        return came, "silence"
    return came, "end"


def test_a_good_line(registry: Registry, through: Callable[[Line], FaultProxy], ask: Ask) -> None:
    proxy = through(Line())
    assert ask(_blob(registry, proxy)).body == CONTENT
    put = f"http://{proxy.host}/v2/app/blobs/uploads/?digest=sha256:"
    other = CONTENT[::-1]
    digest = hashlib.sha256(other).hexdigest()
    assert ask(put + digest, "POST", other).status == 201
    assert f"sha256:{digest}" in registry.blobs("app")
    assert proxy.connections == 2


def test_tls_passes(tls_files: TlsFiles, ask: Ask) -> None:
    registry = Registry(tls_cert=tls_files.cert, tls_key=tls_files.key)
    with registry as started, FaultProxy(started.host) as proxy:
        assert ask(f"https://{proxy.host}/v2/", ca_file=tls_files.ca).status == 200


def test_latency_is_paid_once_each_way_whatever_the_size(
    registry: Registry, through: Callable[[Line], FaultProxy], ask: Ask
) -> None:
    url = _blob(registry, through(Line(latency=0.15)))
    start = time.monotonic()
    assert ask(url).body == CONTENT
    assert 0.3 <= time.monotonic() - start < 3


def test_the_rate_is_each_connections(
    registry: Registry, through: Callable[[Line], FaultProxy], ask: Ask
) -> None:
    url = _blob(registry, through(Line(rate=2_000_000)))
    ended: list[float] = []

    def fetch() -> None:
        start = time.monotonic()
        assert ask(url).body == CONTENT
        ended.append(time.monotonic() - start)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 2
    assert min(ended) >= 0.4


def test_a_cut_is_a_reset(registry: Registry, through: Callable[[Line], FaultProxy]) -> None:
    proxy = through(Line(cut_after=100_000))
    path = _blob(registry, proxy).partition(proxy.host)[2]
    came, how = _read_until_trouble(proxy, path)
    assert how == "reset"
    assert len(came) <= 100_000


def test_a_stall_is_silence(registry: Registry, through: Callable[[Line], FaultProxy]) -> None:
    proxy = through(Line(stall_after=100_000))
    path = _blob(registry, proxy).partition(proxy.host)[2]
    came, how = _read_until_trouble(proxy, path, timeout=0.3)
    assert (len(came), how) == (100_000, "silence")


def test_a_cut_on_the_way_up(
    registry: Registry, through: Callable[[Line], FaultProxy], ask: Ask
) -> None:
    proxy = through(Line(cut_after=50_000, direction="up"))
    url = f"http://{proxy.host}/v2/new/blobs/uploads/"
    with pytest.raises(ConnectionError):
        ask(f"{url}?digest=sha256:{'0' * 64}", "POST", CONTENT)
    assert registry.blobs("new") == frozenset()


def test_refused_and_reset_connections(
    registry: Registry, through: Callable[[Line], FaultProxy]
) -> None:
    proxy = through(Line(refuse=True))
    assert _read_until_trouble(proxy, "/v2/") == (b"", "reset")
    proxy = through(Line())
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        client.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            client.recv(65536)


def test_a_target_that_is_down(through: Callable[[Line], FaultProxy], registry: Registry) -> None:
    proxy = through(Line())
    registry.stop()
    assert _read_until_trouble(proxy, "/v2/") == (b"", "reset")


def test_it_runs_as_a_program(registry: Registry, ask: Ask) -> None:
    command = [sys.executable, "-m", "imgctl_core.testing.proxy", registry.host]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        host = process.stdout.readline().strip()
        assert ask(f"http://{host}/v2/").status == 200
    finally:
        process.terminate()
        process.communicate()
