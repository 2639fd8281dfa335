"""One GET, with its limits, against a server that keeps none."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imgctl_core.auth.fetch import MAX_BODY, FetchFailed, get_object

if TYPE_CHECKING:
    from tests.core.auth.conftest import Origin

OK = b"HTTP/1.1 200 OK\r\n"


def test_an_object(origin: Origin) -> None:
    origin.json("/a", {"b": 1})
    assert get_object(f"{origin.url}/a", timeout=5) == {"b": 1}
    assert origin.requests == ["GET /a"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>hello</html>", "JSONDecodeError"),
        (b"", "JSONDecodeError"),
        (b"[]", "not an object"),
        (b'{"a": 1, "a": 2}', "a name stands twice"),
        (b'{"a": "\xff"}', "UnicodeDecodeError"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": "' + b"x" * MAX_BODY + b'"}', "longer than 1 MiB"),
        (b"x" * (10 << 20), "longer than 1 MiB"),
    ],
    ids=["html", "empty", "array", "twice", "bytes", "nested", "a little over", "10 MB"],
)
def test_anything_else_is_a_failure(origin: Origin, body: bytes, says: str) -> None:
    origin.json("/a", {})
    origin.replies["/a"].body = body
    with pytest.raises(FetchFailed, match=says):
        get_object(f"{origin.url}/a", timeout=5)


def test_the_longest_body(origin: Origin) -> None:
    origin.json("/a", {"a": "x" * (MAX_BODY - 9)})
    assert len(origin.replies["/a"].body) == MAX_BODY
    get_object(f"{origin.url}/a", timeout=5)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 303, 307, 308, 401, 404, 500, 503])
def test_57_only_200_counts_and_no_redirect_is_followed(origin: Origin, status: int) -> None:
    origin.json("/a", {})
    origin.json("/b", {})
    origin.replies["/a"].status = status
    origin.replies["/a"].headers = {"Location": f"{origin.url}/b"}
    with pytest.raises(FetchFailed, match=f"status {status}"):
        get_object(f"{origin.url}/a", timeout=5)
    assert origin.requests == ["GET /a"]


def test_57_a_server_that_never_answers(origin: Origin) -> None:
    origin.hang("/a")
    with pytest.raises(FetchFailed, match=r"no whole answer in 0\.2 s"):
        get_object(f"{origin.url}/a", timeout=0.2)


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"", b"H"),
        (OK + b"X: ", b"x"),
        (OK, b"X: y\r\n"),
        (OK + b'Content-Length: 1000000\r\n\r\n{"a": "', b"x"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (OK + b'Connection: close\r\n\r\n{"a": 1}', b" "),
    ],
    ids=["status", "header", "headers", "body", "chunks", "until closed"],
)
def test_57_a_slow_drip_ends(origin: Origin, first: bytes, rest: bytes) -> None:
    origin.drip("/a", first, rest)
    with pytest.raises(FetchFailed):
        get_object(f"{origin.url}/a", timeout=0.3)
    assert not origin.over.is_set()


def test_57_a_compressed_answer_is_no_answer(origin: Origin) -> None:
    origin.json("/a", {})
    origin.replies["/a"].headers = {"Content-Encoding": "gzip"}
    origin.replies["/a"].body = b"\x1f\x8b\x08\x00"
    with pytest.raises(FetchFailed):
        get_object(f"{origin.url}/a", timeout=5)


def test_nobody_there(origin: Origin, new_origin: Callable[[], Origin]) -> None:
    gone = new_origin()
    gone.server.server_close()
    with pytest.raises(FetchFailed, match=f"^{gone.url}/a: "):
        get_object(f"{gone.url}/a", timeout=5)


def test_what_the_peer_says_stays_on_one_line(origin: Origin) -> None:
    origin.drip("/a", b"\x1b[31mFORGED\xe2\x80\xa8LINE\r\n\r\n", b"")
    with pytest.raises(FetchFailed) as failed:
        get_object(f"{origin.url}/a", timeout=5)
    assert str(failed.value).isprintable()
    assert str(failed.value).isascii()


def test_no_thread_is_left(origin: Origin) -> None:
    origin.json("/a", {})
    before = {t for t in threading.enumerate() if isinstance(t, threading.Timer)}
    get_object(f"{origin.url}/a", timeout=60)
    for timer in {t for t in threading.enumerate() if isinstance(t, threading.Timer)} - before:
        timer.join(5)
        assert not timer.is_alive()


class TestProxy:
    @pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"])
    def test_never_for_the_loopback(
        self,
        origin: Origin,
        new_origin: Callable[[], Origin],
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        proxy = new_origin()
        monkeypatch.setenv(name, proxy.url)
        origin.json("/a", {"b": 1})
        assert get_object(f"{origin.url}/a", timeout=5) == {"b": 1}
        assert proxy.requests == []

    def test_for_another_host(self, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", origin.url)
        with pytest.raises(FetchFailed):
            get_object("https://dex.invalid/a", timeout=5)
        assert origin.requests == ["CONNECT dex.invalid:443"]

    def test_not_where_no_proxy_says_so(
        self, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("https_proxy", origin.url)
        monkeypatch.setenv("no_proxy", ".invalid")
        with pytest.raises(FetchFailed):
            get_object("https://dex.invalid/a", timeout=5)
        assert origin.requests == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "issuer.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls_origin(origin: Origin, certificate: Path) -> Origin:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    origin.server.socket = context.wrap_socket(
        origin.server.socket, server_side=True, do_handshake_on_connect=False
    )
    origin.scheme = "https"
    origin.json("/a", {"b": 1})
    return origin


class TestTls:
    def test_ssl_cert_file_is_trusted(
        self, tls_origin: Origin, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            get_object(f"{tls_origin.url}/a", timeout=5)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert get_object(f"{tls_origin.url}/a", timeout=5) == {"b": 1}

    def test_the_name_must_be_the_certificates(
        self, tls_origin: Origin, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            get_object(f"https://localhost:{tls_origin.port}/a", timeout=5)

    def test_57_a_slow_drip_ends(
        self, tls_origin: Origin, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        tls_origin.drip("/a", OK + b"X: ", b"x")
        with pytest.raises(FetchFailed):
            get_object(f"{tls_origin.url}/a", timeout=0.5)
