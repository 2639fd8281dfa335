"""TLS on a real port: certificates, their renewal, and clients' certificates."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imgctl_core import errors
from imgctl_core.errors import InvalidSetting
from imgctl_core.server import tls
from imgctl_core.server.binding import Binding
from imgctl_core.server.tls import Paths, RenewingCertificate, load
from imgctl_core.testing.tls import TlsFiles, make_tls_files


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return make_tls_files(tmp_path / "one")


def _binding(files: TlsFiles, **more: Any) -> Binding:
    return Binding("localhost", tls=Paths(files.cert, files.key, **more))


def _replace(old: Path, new: Path, version: int) -> None:
    """Put a file in the place of another, with a time of its own."""
    fresh = old.with_suffix(".new")
    shutil.copy(new, fresh)
    os.utime(fresh, ns=(version, version))
    fresh.replace(old)


def test_the_client_speaks_tls_and_checks_the_server(
    serve: Callable[..., Any], files: TlsFiles, tmp_path: Path
) -> None:
    running = serve(_binding(files))
    assert running.client(ca_file=files.ca).auth_check().actor.name == "Jane"
    address = f"https://{running.server.address}"
    assert running.client(address=address, ca_file=files.ca).auth_check()
    other = make_tls_files(tmp_path / "other")
    with pytest.raises(errors.ServerUnreachable, match="not one that we trust") as caught:
        running.client(ca_file=other.ca).auth_check()
    assert "--ca-file" in caught.value.fix


def test_the_certificates_name_counts(serve: Callable[..., Any], tmp_path: Path) -> None:
    files = make_tls_files(tmp_path / "named", names=("imgctl.example.com",))
    running = serve(_binding(files))
    with pytest.raises(errors.ServerUnreachable, match="for another name"):
        running.client(ca_file=files.ca).auth_check()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"])
def test_the_systems_authorities_are_trusted(
    serve: Callable[..., Any],
    files: TlsFiles,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = serve(_binding(files))
    monkeypatch.setenv(variable, str(files.ca))
    address = f"https://{running.server.address}"
    assert running.client(address=address).auth_check()


def test_a_client_that_expects_no_tls_is_told(serve: Callable[..., Any], files: TlsFiles) -> None:
    running = serve(_binding(files))
    with pytest.raises(errors.ServerUnreachable, match="TLS only") as caught:
        running.client().auth_check()
    assert f"--server https://{running.server.address}" in caught.value.fix


def test_a_client_that_expects_tls_is_told(running: Any, files: TlsFiles) -> None:
    with pytest.raises(errors.ServerUnreachable, match="does not speak TLS"):
        running.client(ca_file=files.ca).auth_check()


def test_a_renewed_certificate_is_served_without_a_restart(
    serve: Callable[..., Any], files: TlsFiles, tmp_path: Path
) -> None:
    running = serve(_binding(files))
    old_ca = shutil.copy(files.ca, tmp_path / "old-ca.pem")
    assert running.client(ca_file=old_ca).auth_check()
    new = make_tls_files(tmp_path / "two")
    _replace(files.cert, new.cert, 1)
    # Half of the pair: the old one goes on.
    assert running.client(ca_file=old_ca).auth_check()
    _replace(files.key, new.key, 2)
    assert running.client(ca_file=new.ca).auth_check()
    with pytest.raises(errors.ServerUnreachable):
        running.client(ca_file=old_ca).auth_check()


@pytest.mark.parametrize("order", ["certificate first", "key first", "links"])
def test_a_renewal_in_any_order_ends_with_the_new_pair(tmp_path: Path, order: str) -> None:
    old, new = make_tls_files(tmp_path / "old"), make_tls_files(tmp_path / "new")
    paths = Paths(tmp_path / "data" / "cert.pem", tmp_path / "data" / "key.pem")
    if order == "links":
        # As Kubernetes does: the files are links through one link to a folder.
        (tmp_path / "data").symlink_to("old")
        watched = RenewingCertificate(paths)
        (tmp_path / "next").symlink_to("new")
        (tmp_path / "next").replace(tmp_path / "data")
    else:
        shutil.copytree(tmp_path / "old", tmp_path / "data")
        watched = RenewingCertificate(paths)
        pairs = [(paths.cert, new.cert), (paths.key, new.key)]
        first, second = pairs if order == "certificate first" else pairs[::-1]
        _replace(*first, 1)
        assert watched.fetch() is None
        _replace(*second, 2)
    assert watched.fetch() is not None
    assert watched.fetch() is None
    assert paths.cert.read_bytes() == new.cert.read_bytes() != old.cert.read_bytes()


@pytest.mark.parametrize("fault", ["none", "another authority", "expired"])
def test_clients_certificates_are_checked(
    serve: Callable[..., Any], files: TlsFiles, tmp_path: Path, fault: str
) -> None:
    key, certificate = _self_signed(expired=fault == "expired")
    client_ca = tmp_path / "clients.pem"
    # Of the same name, and with another key.
    client_ca.write_bytes(_self_signed()[1] if fault == "another authority" else certificate)
    running = serve(_binding(files, client_ca=client_ca))
    credentials = grpc.ssl_channel_credentials(files.ca.read_bytes(), key, certificate)
    options = [("grpc.enable_http_proxy", 0)]
    opened: Any = grpc.secure_channel(running.server.address, credentials, options=options)
    with opened as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/imgctl.v1.ImgCtl/AuthCheck")(b"", timeout=10)
    good = fault == "none"
    code = grpc.StatusCode.UNAUTHENTICATED if good else grpc.StatusCode.UNAVAILABLE
    assert caught.value.code() is code
    assert bool(running.events) == good


def test_client_certificates_are_asked_for(
    serve: Callable[..., Any], files: TlsFiles, tmp_path: Path
) -> None:
    key, certificate = _self_signed()
    client_ca = tmp_path / "clients.pem"
    client_ca.write_bytes(certificate)
    running = serve(_binding(files, client_ca=client_ca))
    with pytest.raises(errors.ServerUnreachable, match="may ask clients for a certificate"):
        running.client(ca_file=files.ca).auth_check()
    cert_file, key_file = tmp_path / "laptop.crt", tmp_path / "laptop.key"
    cert_file.write_bytes(certificate)
    key_file.write_bytes(key)
    own = {"cert_file": cert_file, "key_file": key_file}
    running.client(ca_file=files.ca, **own).auth_check()
    foreign = {"cert_file": files.cert, "key_file": files.key}
    with pytest.raises(errors.ServerUnreachable, match="may ask clients for a certificate"):
        running.client(ca_file=files.ca, **foreign).auth_check()
    credentials = grpc.ssl_channel_credentials(files.ca.read_bytes(), key, certificate)
    options = [("grpc.enable_http_proxy", 0)]
    opened: Any = grpc.secure_channel(running.server.address, credentials, options=options)
    with opened as channel:
        # Somebody of ours, and still nobody without a token.
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/imgctl.v1.ImgCtl/AuthCheck")(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", "Bearer good")]
        channel.unary_unary("/imgctl.v1.ImgCtl/AuthCheck")(b"", metadata=metadata, timeout=10)
    event, fields = running.events[-1]
    assert (event, fields["certificate"], fields["protected"]) == (
        "auth.checked",
        "CN=laptop",
        True,
    )


def test_a_clients_own_files_that_are_no_good_are_named(
    running: Any, files: TlsFiles, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked.write_bytes(key.private_bytes(pem, form, secret))
    others = make_tls_files(tmp_path / "other")
    for cert_file, key_file, text in (
        (files.cert, None, "go together"),
        (None, files.key, "go together"),
        (files.cert, tmp_path / "absent", "can't be read: No such file"),
        (files.key, files.key, "key.pem holds no certificate"),
        (files.cert, files.cert, "holds no private key"),
        (files.cert, locked, "needs a passphrase"),
        (files.cert, others.key, "is not the key of"),
    ):
        address = f"https://{running.server.address}"
        with pytest.raises(InvalidSetting, match=text):
            running.client(address=address, cert_file=cert_file, key_file=key_file).auth_check()


def _self_signed(*, expired: bool = False) -> tuple[bytes, bytes]:
    """Return a key and a certificate that is its own authority, good for clients too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "laptop")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=2))
        .not_valid_after(now + timedelta(hours=-1 if expired else 1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(encoding)


def test_files_that_are_no_good_are_named(files: TlsFiles, tmp_path: Path) -> None:
    other = make_tls_files(tmp_path / "two")
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("rubbish")
    for paths, text in (
        (Paths(tmp_path / "absent", files.key), "tls_cert: .*absent can't be read"),
        (Paths(files.cert, tmp_path / "absent"), "tls_key: .*absent can't be read"),
        (Paths(rubbish, files.key), "tls_cert: .*rubbish holds no certificate"),
        (Paths(files.cert, rubbish), "tls_key: .*rubbish holds no private key"),
        (Paths(files.cert, locked), "tls_key: .*locked.pem needs a passphrase"),
        (Paths(files.cert, other.key), "tls_key: .* is not the key of"),
        (Paths(files.cert, files.key, rubbish), "tls_client_ca: .*rubbish holds no certificate"),
    ):
        with pytest.raises(InvalidSetting, match=text):
            load(paths)


def test_a_certificate_that_runs_out_soon_is_warned_about(files: TlsFiles) -> None:
    material = load(Paths(files.cert, files.key))
    assert material.warnings() == []
    (warning,) = material.warnings(datetime.now(UTC) + timedelta(days=20))
    assert "expires on" in warning
    assert "PRIVATE" not in repr(material)


def test_a_certificate_that_nobody_renews_is_told_of_daily(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = RenewingCertificate(Paths(files.cert, files.key))
    monkeypatch.setattr(tls, "_SOON", timedelta(days=9999))
    watched.fetch()
    assert caplog.text == ""
    monkeypatch.setattr(tls, "_REMIND", timedelta(0))
    watched.fetch()
    assert "nobody has renewed it" in caplog.text


def test_files_that_could_not_be_read_for_a_moment_are_read_again(
    files: TlsFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their times are the same: it was we who had no descriptor left."""
    watched = RenewingCertificate(Paths(files.cert, files.key))
    good = make_tls_files(tmp_path / "two")
    _replace(files.key, good.key, 1)
    _replace(files.cert, good.cert, 1)
    now = [100.0]
    monkeypatch.setattr(tls, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with monkeypatch.context() as patched:
        error = OSError(errno.EMFILE, "Too many open files")
        patched.setattr(Path, "read_bytes", Mock(side_effect=error))
        assert watched.fetch() is None
    assert watched.fetch() is None
    now[0] += 10
    assert watched.fetch() is not None


def test_a_key_that_everybody_may_read_is_warned_about(files: TlsFiles) -> None:
    files.key.chmod(0o644)
    assert _binding(files).check() == (f"everybody may read the TLS key: chmod 600 {files.key}",)
    files.key.chmod(0o640)
    assert _binding(files).check() == ()


def test_bad_files_are_read_and_logged_once(
    files: TlsFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = RenewingCertificate(Paths(files.cert, files.key))
    assert watched.fetch() is None
    expired = make_tls_files(tmp_path / "two", expired=True)
    _replace(files.key, expired.key, 1)
    _replace(files.cert, expired.cert, 1)
    assert watched.fetch() is None
    assert watched.fetch() is None
    assert caplog.text.count("expired on") == 1
    files.cert.unlink()
    assert watched.fetch() is None
    assert "can't be read" in caplog.text
    good = make_tls_files(tmp_path / "three")
    shutil.copy(good.cert, files.cert)
    _replace(files.key, good.key, 2)
    assert watched.fetch() is not None
