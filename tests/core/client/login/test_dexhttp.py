"""HTTP to Dex: limits, certificates, proxies, and what is said when nobody answers."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgctl_core.client.dexhttp import DexHttp, within
from imgctl_core.client.transport import safe_url
from imgctl_core.errors import InvalidSetting, IssuerUnreachable
from imgctl_core.testing.tls import TlsFiles, make_tls_files

if TYPE_CHECKING:
    from tests.core.client.login.conftest import FakeDex, Reply

MakeReply = Callable[..., "Reply"]
StartDex = Callable[..., "FakeDex"]
PATH = "/dex/.well-known/openid-configuration"


def get(origin: str, *, ca_file: Path | None = None, seconds: float = 15.0) -> int:
    http = DexHttp(safe_url(origin, "--dex-url", ""), ca_file=ca_file, request_seconds=seconds)
    try:
        return http.get(origin + PATH).status
    finally:
        http.close()


def server_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    return context


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_peer_that_never_finishes(part: str, dex: FakeDex, reply: MakeReply) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        if part == "body":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not dex.release.wait(0.01):
            handler.wfile.write(b"X")

    dex.answer("/.well-known/openid-configuration", reply(before=drip))
    started = time.monotonic()
    with pytest.raises(IssuerUnreachable, match=r"did not answer within 0\.3 seconds"):
        get(dex.origin, seconds=0.3)
    assert time.monotonic() - started < 5


def test_within_gives_results_errors_and_up() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
    stop = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, stop.wait)
    stop.set()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(IssuerUnreachable, match="Connection refused") as caught:
        get(f"http://127.0.0.1:{port}")
    assert "--dex-url" in caught.value.fix
    assert "0x" not in caught.value.message


def test_no_such_name() -> None:
    with pytest.raises(IssuerUnreachable, match="Name or service not known"):
        get("https://dex.invalid")


def test_cut_off(dex: FakeDex, reply: MakeReply) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        handler.connection.shutdown(socket.SHUT_RDWR)

    dex.answer("/.well-known/openid-configuration", reply(before=cut))
    with pytest.raises(IssuerUnreachable, match="can't be reached"):
        get(dex.origin)


def test_tls_with_a_ca_file(start_dex: StartDex, tls_files: TlsFiles) -> None:
    server = start_dex(tls=server_context(tls_files), host="localhost")
    assert get(server.origin, ca_file=tls_files.ca) == 200


def test_tls_with_ssl_cert_file(
    start_dex: StartDex, tls_files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_dex(tls=server_context(tls_files), host="localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_files.ca))
    assert get(server.origin) == 200


def test_the_ca_file_stands_beside_the_systems(
    start_dex: StartDex, tls_files: TlsFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_dex(tls=server_context(tls_files), host="localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_files.ca))
    assert get(server.origin, ca_file=make_tls_files(tmp_path).ca) == 200


def test_an_unknown_authority(
    start_dex: StartDex, tls_files: TlsFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_dex(tls=server_context(tls_files), host="localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(make_tls_files(tmp_path).ca))
    with pytest.raises(IssuerUnreachable, match="unable to get local issuer") as caught:
        get(server.origin)
    assert "--ca-file" in caught.value.fix
    assert server.requests == []


def test_a_certificate_that_is_not_valid_now_may_be_a_wrong_clock(
    start_dex: StartDex, tmp_path: Path
) -> None:
    files = make_tls_files(tmp_path, expired=True)
    server = start_dex(tls=server_context(files), host="localhost")
    with pytest.raises(IssuerUnreachable, match="expired") as caught:
        get(server.origin, ca_file=files.ca)
    assert "check this machine's clock" in caught.value.fix


def test_a_certificate_of_another_name(start_dex: StartDex, tmp_path: Path) -> None:
    files = make_tls_files(tmp_path, names=["dex.example.com"])
    server = start_dex(tls=server_context(files), host="localhost")
    with pytest.raises(IssuerUnreachable, match="Hostname mismatch"):
        get(server.origin, ca_file=files.ca)
    assert server.requests == []


def test_tls_to_a_plain_port(dex: FakeDex) -> None:
    with pytest.raises(IssuerUnreachable) as caught:
        get(dex.origin.replace("http://", "https://"))
    assert "speaks TLS" in caught.value.fix


@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_a_ca_file_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidSetting, match="CA file") as caught:
        get("https://localhost:1", ca_file=path)
    assert "--ca-file" in caught.value.fix


class Proxy:
    """Takes one connection and keeps the head of its first request."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.head = b""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        with peer:
            while b"\r\n\r\n" not in self.head:
                self.head += peer.recv(4096) or b"\r\n\r\n"
            peer.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        # Closing alone would not wake the thread out of accept.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        finally:
            self._listener.close()
        self._thread.join()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> object:
    started = Proxy()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://user:pa%20ss@{started.address}")
    yield started
    started.close()


def test_others_are_reached_through_a_proxy_by_tunnel(proxy: Proxy) -> None:
    with pytest.raises(IssuerUnreachable, match="403") as caught:
        get("https://dex.example.com")
    assert proxy.head.startswith(b"CONNECT dex.example.com:443 HTTP/1.")
    assert b"authorization: basic dXNlcjpwYSBzcw==" in proxy.head.replace(b"A", b"a").replace(
        b"Basic", b"basic"
    )
    assert "HTTPS_PROXY" in caught.value.fix
    assert "pa ss" not in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_for_this_machine(host: str, proxy: Proxy, start_dex: StartDex) -> None:
    server = start_dex(host=host)
    assert get(server.origin) == 200
    assert proxy.head == b""


def test_no_proxy_variable(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "dex.invalid")
    with pytest.raises(IssuerUnreachable, match="Name or service not known"):
        get("https://dex.invalid")
    assert proxy.head == b""


@pytest.mark.parametrize("value", ["socks5://user:pw@127.0.0.1:1", "http://"])
def test_a_proxy_that_can_not_be_used(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(InvalidSetting, match="proxy") as caught:
        get("https://dex.example.com")
    assert "pw" not in caught.value.message


def test_the_date_of_the_answer(dex: FakeDex) -> None:
    dex.clock = lambda: 1_000_000.0
    http = DexHttp(safe_url(dex.origin, "", ""), clock=lambda: 1_000_042.5)
    answer = http.get(dex.origin + PATH)
    http.close()
    assert answer.ahead == 42.5


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 9999 99:99:99 GMT"])
def test_no_readable_date(date: str, dex: FakeDex, reply: MakeReply) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        handler.wfile.write(head.encode())
        handler.connection.shutdown(socket.SHUT_RDWR)

    dex.answer("/.well-known/openid-configuration", reply(before=answer))
    http = DexHttp(safe_url(dex.origin, "", ""))
    assert http.get(dex.origin + PATH).ahead is None
    http.close()


def test_connections_are_closed(dex: FakeDex) -> None:
    get(dex.origin)
    gc.collect()  # An open socket would warn, which is an error here.
