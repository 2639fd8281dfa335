"""TLS: whose certificates are believed, and when plain HTTP is spoken."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgctl_core.errors import EndpointUnreachable, InvalidSetting
from imgctl_core.testing.registry import Registry
from imgctl_core.testing.tls import TlsFiles, make_tls_files

if TYPE_CHECKING:
    from tests.backends.image.conftest import MakeBench

MakeRegistry = Callable[..., Registry]


def secure(make_registry: MakeRegistry, files: TlsFiles) -> Registry:
    registry = make_registry(tls_cert=files.cert, tls_key=files.key)
    registry.put_image("app", "v1")
    return registry


def test_ca_file_is_trusted(
    make_bench: MakeBench, make_registry: MakeRegistry, tls_files: TlsFiles
) -> None:
    dev = secure(make_registry, tls_files)
    fields = {"registry": dev.host, "ca_file": tls_files.ca}
    make_bench(dev=fields, prod=make_registry().url).promote("app:v1")


def test_ssl_cert_file_is_trusted(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    tls_files: TlsFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_files.ca))
    dev = secure(make_registry, tls_files)
    make_bench(dev=dev.url, prod=make_registry().url).promote("app:v1")


@pytest.mark.parametrize("scheme", ["", "https://"])
def test_an_untrusted_certificate_is_an_error_and_never_plain_http(
    make_bench: MakeBench, make_registry: MakeRegistry, tls_files: TlsFiles, scheme: str
) -> None:
    dev = secure(make_registry, tls_files)
    with pytest.raises(EndpointUnreachable) as caught:
        make_bench(dev=scheme + dev.host, prod=make_registry().url).plan("app:v1")
    assert "certificate is not trusted" in caught.value.message
    assert "ca_file" in caught.value.fix
    assert dev.requests == ()


def test_ca_files_are_per_endpoint(
    make_bench: MakeBench, make_registry: MakeRegistry, tls_files: TlsFiles, tmp_path: Path
) -> None:
    other = make_tls_files(tmp_path / "other")
    dev, prod = secure(make_registry, tls_files), secure(make_registry, other)
    swapped = make_bench(
        dev={"registry": dev.url, "ca_file": tls_files.ca},
        prod={"registry": prod.url, "ca_file": tls_files.ca},
    )
    with pytest.raises(EndpointUnreachable, match=prod.host):
        swapped.plan("app:v1")
    right = make_bench(
        dev={"registry": dev.url, "ca_file": tls_files.ca},
        prod={"registry": prod.url, "ca_file": other.ca},
    )
    assert right.plan("app:v1").unchanged


@pytest.mark.parametrize("fault", ["expired", "name"])
def test_a_certificate_that_is_wrong_is_an_error(
    make_bench: MakeBench, make_registry: MakeRegistry, tmp_path: Path, fault: str
) -> None:
    files = (
        make_tls_files(tmp_path / "x", expired=True)
        if fault == "expired"
        else make_tls_files(tmp_path / "x", names=["other.example"])
    )
    dev = secure(make_registry, files)
    fields = {"registry": dev.url, "ca_file": files.ca}
    with pytest.raises(EndpointUnreachable, match=r"expired|mismatch|not valid for"):
        make_bench(dev=fields, prod=make_registry().url).plan("app:v1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_loopback_host_without_a_scheme_may_be_plain(
    make_bench: MakeBench, make_registry: MakeRegistry, host: str
) -> None:
    dev, prod = make_registry(), make_registry()
    dev.put_image("app", "v1")
    make_bench(dev=f"{host}:{dev.port}", prod=f"{host}:{prod.port}").promote("app:v1")


def test_https_is_never_plain(make_bench: MakeBench, make_registry: MakeRegistry) -> None:
    dev = make_registry()
    with pytest.raises(EndpointUnreachable) as caught:
        make_bench(dev=f"https://{dev.host}", prod=make_registry().url).plan("app:v1")
    assert "does not speak TLS" in caught.value.message
    assert "http://" in caught.value.fix
    assert all(r.status == 400 for r in dev.requests)


def test_a_peer_that_hangs_up_on_tls_is_not_tried_in_plain(
    make_bench: MakeBench, make_registry: MakeRegistry
) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            for _ in range(3):
                peer, _ = listener.accept()
                with peer:
                    heard.append(peer.recv(65536))

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        bench = make_bench(dev=address, prod=make_registry().url, settings={"attempts": 3})
        with pytest.raises(EndpointUnreachable):
            bench.plan("app:v1")
        thread.join()
    assert all(data[0] == 0x16 for data in heard)


def test_a_ca_file_that_is_none(
    make_bench: MakeBench, make_registry: MakeRegistry, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    bench = make_bench(
        dev={"registry": "https://127.0.0.1:1", "ca_file": file}, prod=make_registry().url
    )
    with pytest.raises(InvalidSetting, match="ca_file"):
        bench.plan("app:v1")
