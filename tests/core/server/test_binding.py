"""Where the server may listen, and with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgctl_core.errors import InvalidSetting
from imgctl_core.server.binding import Binding
from imgctl_core.server.run import check_binding
from imgctl_core.server.tls import Paths
from imgctl_core.settings import load_settings
from imgctl_core.testing.tls import make_tls_files


@pytest.mark.parametrize(
    ("address", "host", "port", "shown"),
    [
        ("127.0.0.1:9999", "127.0.0.1", 9999, "127.0.0.1:9999"),
        ("localhost:0", "localhost", 0, "localhost:0"),
        ("[::1]:80", "::1", 80, "[::1]:80"),
        ("0.0.0.0:65535", "0.0.0.0", 65535, "0.0.0.0:65535"),
        ("my-host.example:1", "my-host.example", 1, "my-host.example:1"),
    ],
)
def test_addresses(address: str, host: str, port: int, shown: str) -> None:
    binding = Binding.parse(address)
    assert (binding.host, binding.port, binding.address) == (host, port, shown)


@pytest.mark.parametrize("address", ["unix:/run/i.sock", "unix:///run/i.sock"])
def test_unix_sockets(address: str) -> None:
    binding = Binding.parse(address)
    assert (binding.path, binding.address) == (Path("/run/i.sock"), "unix:/run/i.sock")
    assert binding.check() == ()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "9999",
        ":9999",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:65536",
        "localhost:-1",
        "localhost:٣",
        "::1:9999",
        "[::1]",
        "http://localhost:1",
        "a b:1",
        "dns:///x:1",
        "[evil/]:1",
        "[127.0.0.1]:1",
        "-x:1",
        "unix:",
        "unix:relative.sock",
        "hôte:1",
    ],
)
def test_what_is_no_address_is_said_to_be_none(address: str) -> None:
    with pytest.raises(InvalidSetting, match="bind address") as caught:
        Binding.parse(address)
    assert "127.0.0.1:9999" in caught.value.fix


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1"])
def test_the_loopback_needs_no_tls(address: str) -> None:
    assert Binding.parse(address).check() == ()


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "127.1:1", "localhost.evil:1", "example.com:1"],
)
def test_anything_else_does(address: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="no TLS") as caught:
        Binding.parse(address).check()
    assert "--insecure-plaintext" in caught.value.fix
    assert "--tls-cert" in caught.value.fix
    (warning,) = Binding.parse(address, insecure_plaintext=True).check()
    assert "in clear" in warning
    files = make_tls_files(tmp_path)
    paths = Paths(files.cert, files.key)
    assert Binding.parse(address, tls=paths).check() == ()
    (warning,) = Binding.parse(address, tls=paths, insecure_plaintext=True).check()
    assert "not used" in warning


def test_the_certificate_is_checked(tmp_path: Path) -> None:
    files = make_tls_files(tmp_path, expired=True)
    with pytest.raises(InvalidSetting, match="expired"):
        Binding.parse("0.0.0.0:1", tls=Paths(files.cert, files.key)).check()


def test_the_settings_say_it_all(tmp_path: Path) -> None:
    files = make_tls_files(tmp_path)
    environ = {
        "OIDC_ISSUER_URL": "https://dex.example.com",
        "OIDC_AUDIENCE": "a",
        "IMGCTL_BIND_ADDRESS": "0.0.0.0:9999",
    }
    with pytest.raises(InvalidSetting, match="no TLS"):
        check_binding(load_settings(environ=environ))
    loud = load_settings(environ={**environ, "IMGCTL_INSECURE_PLAINTEXT": "true"})
    assert len(check_binding(loud)) == 1
    environ |= {
        "IMGCTL_TLS_CERT": str(files.cert),
        "IMGCTL_TLS_KEY": str(files.key),
        "IMGCTL_TLS_CLIENT_CA": str(files.ca),
    }
    settings = load_settings(environ=environ)
    assert check_binding(settings) == ()
    assert Binding.of(settings.server).tls == Paths(files.cert, files.key, files.ca)
