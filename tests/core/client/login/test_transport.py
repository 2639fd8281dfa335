"""Where secrets may go."""

from __future__ import annotations

import pytest

from imgctl_core.client.transport import safe_url
from imgctl_core.errors import InvalidSetting
from imgctl_core.hosts import is_loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.255.0.9", "::1", "[::1]", "localhost", "LocalHost"]
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "::ffff:127.0.0.1",
        "[::ffff:7f00:1]",
        "::1%lo",
        "localhost.",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "dex.example.com",
        "127.0.0.1 ",
        "١٢٧.0.0.1",
    ],
)
def test_everything_else_is_remote(host: str) -> None:
    assert not is_loopback(host)


def read(text: str) -> None:
    safe_url(text, "--dex-url", "https://dex.example.com")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://dex.example.com", ("https", "dex.example.com", 443)),
        ("https://Dex.Example.com:8443/dex", ("https", "dex.example.com", 8443)),
        ("http://127.0.0.1:5556/dex", ("http", "127.0.0.1", 5556)),
        ("http://[::1]/", ("http", "::1", 80)),
        ("http://localhost", ("http", "localhost", 80)),
    ],
)
def test_good_urls(text: str, origin: tuple[str, str, int]) -> None:
    url = safe_url(text, "--dex-url", "https://dex.example.com")
    assert url.origin == origin
    assert url.text == text
    assert url.loopback is (url.scheme == "http")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://dex.example.com", "not encrypted"),
        ("http://0.0.0.0:5556", "not encrypted"),
        ("http://127.1/", "not encrypted"),
        ("http://localhost.evil.example/", "not encrypted"),
        ("http://127.0.0.1:80@evil.example/", "user name or password"),
        ("https://user@dex.example.com", "user name or password"),
        ("https://:pw@dex.example.com", "user name or password"),
        ("dex.example.com", "not an https:// URL"),
        ("dex.example.com:443", "not an https:// URL"),
        ("file:///etc/passwd", "not an https:// URL"),
        ("ftp://127.0.0.1/", "not an https:// URL"),
        ("https://", "not an https:// URL"),
        ("https:///dex", "not an https:// URL"),
        ("https://dex.example.com:99999", "not a URL"),
        ("https://dex.example.com:port", "not a URL"),
        ("https://[::1", "not a URL"),
        ("https://dex.example.com/?a=b", "no query"),
        ("https://dex.example.com/dex?", "no query"),
        ("https://dex.example.com/#x", "no query"),
        ("https://dex.example.com/\n", "characters"),
        ("ht\ttps://dex.example.com/", "characters"),
        (" https://dex.example.com/", "characters"),
        ("https://evil.example\\@dex.example.com/", "characters"),
        ("https://dex.exämple.com/", "characters"),
    ],
)
def test_bad_urls(text: str, says: str) -> None:
    with pytest.raises(InvalidSetting, match=says) as caught:
        read(text)
    assert caught.value.message.startswith("--dex-url")
    assert "https://" in caught.value.fix


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(InvalidSetting) as caught:
        read("https://me:hunter2@dex.example.com")
    assert "hunter2" not in caught.value.message + caught.value.fix
