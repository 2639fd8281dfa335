"""Parts whose failure the whole would hide."""

from __future__ import annotations

import subprocess
import sys

import pytest

from imgctl_backends.image.signin.challenge import parse_challenges
from imgctl_backends.image.wire.hosts import follow, same_origin
from imgctl_backends.image.wire.probing import _client_hello
from imgctl_core.errors import EndpointFailed


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
