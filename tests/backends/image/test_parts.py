"""Parts whose failure the whole would hide."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any, cast

import pytest

from imgctl_backends.image.blobs import CheckedStream
from imgctl_backends.image.challenge import parse_challenges
from imgctl_backends.image.faults import WrongBytes
from imgctl_backends.image.flight import Flight
from imgctl_backends.image.hosts import follow, same_origin
from imgctl_backends.image.manifests import Descriptor
from imgctl_backends.image.probing import _client_hello
from imgctl_core.context import Context, ProgressCounter
from imgctl_core.errors import EndpointFailed


class Source:
    """A reply with these bytes."""

    where = "r.example.com"

    def __init__(self, content: bytes) -> None:
        self._left = content

    def read(self, size: int) -> bytes:
        data, self._left = self._left[:size], self._left[size:]
        return data


def stream(content: bytes, promised: bytes, size: int | None = None) -> CheckedStream:
    digest = "sha256:" + hashlib.sha256(promised).hexdigest()
    blob = Descriptor("x", digest, len(promised) if size is None else size)
    source = cast("Any", Source(content))
    return CheckedStream(Flight(Context()), source, blob, 4, ProgressCounter("x"))


def test_right_bytes_pass() -> None:
    for content in (b"", b"abc", b"abcdefgh", b"abcdefghi"):
        checked = stream(content, content)
        assert b"".join(checked) == content
        assert checked.whole


@pytest.mark.parametrize("content", [b"abcdefgX", b"abcdefg", b"abcdefghi", b""])
def test_the_last_bytes_of_a_wrong_blob_are_never_sent(content: bytes) -> None:
    checked = stream(content, b"abcdefgh")
    sent: list[bytes] = []
    with pytest.raises(WrongBytes):
        sent.extend(checked)
    assert len(b"".join(sent)) < 8
    assert not checked.whole


def test_an_empty_blob_that_is_not_empty() -> None:
    with pytest.raises(WrongBytes):
        list(stream(b"x", b""))


def test_the_probe_ends_a_line() -> None:
    assert b"\r\n\r\n" in _client_hello("localhost")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/a/blobs/uploads/1?x=y", "https://r.example.com/v2/a/blobs/uploads/1?x=y"),
        ("https://s.example.com/1", "https://s.example.com/1"),
        ("?page=2", "https://r.example.com/v2/?page=2"),
    ],
)
def test_locations_are_seen_from_where_they_were_said(location: str, expected: str) -> None:
    assert follow("https://r.example.com/v2/", location) == expected


@pytest.mark.parametrize(
    "location",
    [
        "http://r.example.com/1",
        "http://s.example.com/1",
        "file:///etc/passwd",
        "https://user:pw@s.example.com/",
        "https://[::1/",
        "https://s.example.com:port/",
    ],
)
def test_locations_that_lead_nowhere_good(location: str) -> None:
    with pytest.raises(EndpointFailed):
        follow("https://r.example.com/v2/", location)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert same_origin("https://R.example.com/x", "https://r.example.com:443/y")
    assert not same_origin("https://r.example.com", "http://r.example.com")
    assert not same_origin("https://r.example.com", "https://r.example.com:8443")
    assert not same_origin("https://r.example.com", "https://r.example.com.evil.example")


def test_challenges_are_parsed() -> None:
    found = parse_challenges(
        ['Basic realm="a, b", Bearer realm="https://x/t",service="s\\"q",scope="a:b:pull,push"']
    )
    assert found["basic"].parameters == {"realm": "a, b"}
    assert found["bearer"].parameters == {
        "realm": "https://x/t",
        "service": 's"q',
        "scope": "a:b:pull,push",
    }
    assert set(parse_challenges(["Negotiate", "BASIC realm=x"])) == {"negotiate", "basic"}
    assert parse_challenges(["", "=", '"', "a" * 100_000]) is not None


def test_nothing_heavy_is_imported_before_a_promotion() -> None:
    code = (
        "import sys\n"
        "from imgctl_backends.image import imgctl_promoters\n"
        "(promoter,) = imgctl_promoters()\n"
        "made = promoter(promoter.Settings(), {'dev': promoter.Endpoint(registry='r.test')})\n"
        "made.parse('app:v1'); made.close()\n"
        "print(sorted({'urllib3', 'boto3', 'botocore', 'ssl'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
