"""Reading what a token says of itself."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest

from imgctl_core.client.login import LoginSettings
from imgctl_core.client.tokens import number, read_token


def token(payload: bytes) -> str:
    return f"h.{urlsafe_b64encode(payload).decode().rstrip('=')}.s"


GOOD = token(b'{"exp": 7}')


def test_a_good_one() -> None:
    assert read_token(GOOD).expires == datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)
    value = token(json.dumps({"exp": 7, "aud": ["a", 1, "b"]}).encode())
    read = read_token(value)
    assert read.value == value
    assert read.expires_at == 7.0
    assert read.audiences == ("a", "b")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a.b",
        "a.b.c.d",
        "a..c",
        ".b.c",
        "h.!.s",
        "h\x1b[2J" + GOOD[1:],
        GOOD + "\n",
        GOOD + "=",
        GOOD.replace("h.", "h .", 1),
        token(b"[]"),
        token(b'"x"'),
        token(b"{}"),
        token(b"\xff"),
        token(b'{"exp": "7"}'),
        token(b'{"exp": true}'),
        token(b'{"exp": null}'),
        token(b'{"exp": 1e999}'),
        token(b'{"exp": NaN}'),
        token(b'{"exp": 1' + b"0" * 400 + b"}"),
        token(b"[" * 100_000),
        token(b'{"exp": 1' + b"0" * 5000 + b"}"),
    ],
)
def test_bad_ones(value: str) -> None:
    with pytest.raises(ValueError, match=r"^it"):
        read_token(value)


def test_claims_for_people() -> None:
    read = read_token(token(b'{"exp": 1e14, "name": 7, "sub": "s", "groups": ["a", 1, "b"]}'))
    assert (read.text("name"), read.text("sub"), read.text("email")) == ("", "s", "")
    assert read.groups == ("a", "b")
    assert read_token(token(b'{"exp": 7, "groups": "a"}')).groups == ()
    assert read.expires.year == 9999


def test_numbers() -> None:
    assert number(1.5) == 1.5
    assert number(10) == 10.0
    assert number(False) is None


def test_no_secret_in_a_repr() -> None:
    settings = LoginSettings("https://d", "c", "s3cret", "a")
    assert "s3cret" not in repr(settings)
    value = token(b'{"exp": 7}')
    assert value not in repr(read_token(value))
