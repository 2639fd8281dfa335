"""Which addresses are taken, and over what a token travels to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgctl_core.client import Target, default_audience
from imgctl_core.client.target import parse
from imgctl_core.errors import InvalidSetting

CA = Path("/some/ca.pem")


@pytest.mark.parametrize(
    ("address", "uri", "tls"),
    [
        ("localhost:9999", "dns:///localhost:9999", False),
        ("LOCALHOST:1", "dns:///LOCALHOST:1", False),
        ("127.0.0.1:9999", "dns:///127.0.0.1:9999", False),
        ("127.9.9.9:1", "dns:///127.9.9.9:1", False),
        ("[::1]:9999", "dns:///[::1]:9999", False),
        ("http://localhost:80", "dns:///localhost:80", False),
        ("https://localhost:9999", "dns:///localhost:9999", True),
        ("https://imgctl.example.com", "dns:///imgctl.example.com:443", True),
        ("https://imgctl.example.com/", "dns:///imgctl.example.com:443", True),
        ("HTTPS://imgctl.example.com:1", "dns:///imgctl.example.com:1", True),
        (" imgctl.example.com:9999 ", "dns:///imgctl.example.com:9999", True),
        ("10.0.0.1:9999", "dns:///10.0.0.1:9999", True),
        ("[2001:db8::1]:9999", "dns:///[2001:db8::1]:9999", True),
        ("unix:/run/i.sock", "unix:/run/i.sock", False),
        ("unix:///run/i.sock", "unix:/run/i.sock", False),
        ("unix:i.sock", "unix:i.sock", False),
    ],
)
def test_addresses(address: str, uri: str, tls: bool) -> None:
    endpoint = parse(Target(address))
    assert (endpoint.uri, endpoint.tls) == (uri, tls)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "localhost.",
        "localhost.evil.example",
        "localhost.localdomain",
        "127.0.0.1.nip.io",
        "[::]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_what_only_looks_like_this_machine_gets_tls(host: str) -> None:
    assert parse(Target(f"{host}:1")).tls
    with pytest.raises(InvalidSetting, match="not encrypted"):
        parse(Target(f"http://{host}:1"))


def test_a_ca_file_asks_for_tls() -> None:
    assert parse(Target("localhost:1", CA)).tls
    assert not parse(Target("unix:/run/i.sock", CA)).tls
    # Said in so many words, on this machine only.
    assert not parse(Target("http://localhost:1", CA)).tls


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":9999",
        "localhost",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:99999999999999999999",
        "localhost:http",
        "localhost:٣",
        "::1:9999",
        "[::1]",
        "[::1]9999",
        "[::1:9999",
        "[evil]:1",
        "ftp://localhost:1",
        "dns:///localhost:1",
        "ipv4:10.0.0.1:1",
        "xds:///x",
        "user@localhost:1",
        "https://localhost:1/path",
        "https://localhost:1?x",
        "a b:1",
        "a,b:1",
        "a/b:1",
        "hôte:1",
        "a\n:1",
        "-a:1",
        "unix:",
        "unix:/a\0b",
    ],
)
def test_what_is_no_address_is_said_to_be_none(address: str) -> None:
    with pytest.raises(InvalidSetting, match="server address") as caught:
        parse(Target(address))
    assert caught.value.fix
    assert caught.value.message.isprintable()


def test_a_missing_port_is_easy_to_mend() -> None:
    with pytest.raises(InvalidSetting, match="has no port") as caught:
        parse(Target("imgctl.example.com"))
    assert caught.value.fix == "write it as imgctl.example.com:9999"


@pytest.mark.parametrize(
    ("address", "audience"),
    [
        ("imgctl.example.com:9999", "https://imgctl.example.com"),
        ("https://IMGCTL.example.com", "https://imgctl.example.com"),
        ("localhost:9999", "https://localhost"),
        ("[2001:DB8::1]:9999", "https://[2001:db8::1]"),
        ("unix:/run/i.sock", "https://localhost"),
    ],
)
def test_the_audience_is_the_host_without_its_port(address: str, audience: str) -> None:
    assert default_audience(address) == audience
