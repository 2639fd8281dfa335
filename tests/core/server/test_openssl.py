"""TLS as another implementation sees it: `openssl s_client` against our server."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.server import limits
from imgctl_core.server.binding import Binding
from imgctl_core.server.tls import Paths
from imgctl_core.testing.peers import find_program
from imgctl_core.testing.tls import TlsFiles, make_tls_files

OPENSSL = find_program("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return make_tls_files(tmp_path / "tls")


@pytest.fixture
def tls_server(serve: Callable[..., Any], files: TlsFiles) -> Any:
    return serve(Binding("127.0.0.1", tls=Paths(files.cert, files.key)))


def _s_client(server: Any, *options: str) -> str:
    """Shake hands and say goodbye; return what openssl says of it."""
    # Security level 0: else openssl itself would not offer the old versions.
    command = [str(OPENSSL), "s_client", "-connect", f"127.0.0.1:{server.server.port}",
               "-alpn", "h2", "-cipher", "ALL:@SECLEVEL=0", *options]  # fmt: skip
    done = subprocess.run(
        command,
        input="",
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=30,
        check=False,
    )
    return done.stdout + done.stderr


@needs_openssl
@pytest.mark.parametrize("version", ["tls1", "tls1_1"])
def test_old_versions_are_refused(tls_server: Any, version: str) -> None:
    said = _s_client(tls_server, f"-{version}")
    # openssl did offer it, and nothing came back.
    assert re.search(r"has read 0 bytes and written [1-9]", said), said
    assert "Cipher is (NONE)" in said


@needs_openssl
@pytest.mark.parametrize(("version", "name"), [("tls1_2", "TLSv1.2"), ("tls1_3", "TLSv1.3")])
def test_new_versions_are_spoken(tls_server: Any, files: TlsFiles, version: str, name: str) -> None:
    said = _s_client(
        tls_server, f"-{version}", "-CAfile", str(files.ca), "-servername", "localhost"
    )
    assert f"New, {name}, Cipher is " in said
    assert "Cipher is (NONE)" not in said
    assert "ALPN protocol: h2" in said
    assert "Verify return code: 0 (ok)" in said
    # Forward secrecy, whichever version.
    assert re.search(r"Server Temp Key: (X25519|ECDH)", said)


@needs_openssl
@pytest.mark.parametrize("cipher", ["aRSA+kRSA", "NULL", "RC4:3DES", "aNULL"])
def test_weak_ciphers_are_refused(tls_server: Any, cipher: str) -> None:
    said = _s_client(tls_server, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said or "no cipher match" in said


@needs_openssl
def test_a_renewed_certificate_is_served_to_the_next_handshake(
    tls_server: Any, files: TlsFiles, tmp_path: Path
) -> None:
    def served() -> str:
        found = re.search(
            r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----",
            _s_client(tls_server, "-showcerts"),
            re.DOTALL,
        )
        assert found is not None
        return found[0]

    assert served() in files.cert.read_text()
    new = make_tls_files(tmp_path / "new")
    for old, fresh in ((files.cert, new.cert), (files.key, new.key)):
        beside = old.with_suffix(".new")
        shutil.copy(fresh, beside)
        os.utime(beside, ns=(1, 1))
        beside.replace(old)
    assert served() in new.cert.read_text()


@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n"])
def test_whoever_does_not_finish_the_handshake_is_put_out(
    serve: Callable[..., Any],
    files: TlsFiles,
    monkeypatch: pytest.MonkeyPatch,
    beginning: bytes,
) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS", 0.3)
    server = serve(Binding("127.0.0.1", tls=Paths(files.cert, files.key)))
    with socket.create_connection(("127.0.0.1", server.server.port), 20) as half:
        half.sendall(beginning)
        _read_to_the_end(half)


def test_whoever_stops_in_the_preface_is_put_out(
    serve: Callable[..., Any], files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS", 0.5)
    server = serve(Binding("127.0.0.1", tls=Paths(files.cert, files.key)))
    context = ssl.create_default_context(cafile=str(files.ca))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", server.server.port), 20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as slow,
    ):
        slow.sendall(b"PRI * HTT")
        _read_to_the_end(slow)


def test_no_more_connections_than_allowed(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 3)
    running = serve()
    address = ("127.0.0.1", running.server.port)
    held = [socket.create_connection(address, 20) for _ in range(3)]
    try:
        for sock in held:
            # The server has spoken, so the connection counts.
            assert sock.recv(1)
        with socket.create_connection(address, 20) as late:
            _read_to_the_end(late)
    finally:
        for sock in held:
            sock.close()


def _read_to_the_end(sock: socket.socket) -> None:
    """Return when the other side has closed; a time-out is an error of the test."""
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
