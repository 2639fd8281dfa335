"""Reading what a token says of itself."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest

from imgctl_core.client.login import LoginSettings
from imgctl_core.client.tokens import number, read_token


def token(payload: bytes) -> str:
    return f"h.{urlsafe_b64encode(payload).decode().rstrip('=')}.s"


def test_a_good_one() -> None:
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


def test_numbers() -> None:
    assert number(1.5) == 1.5
    assert number(10) == 10.0
    assert number(False) is None


def test_no_secret_in_a_repr() -> None:
    settings = LoginSettings("https://d", "c", "s3cret", "a")
    assert "s3cret" not in repr(settings)
    value = token(b'{"exp": 7}')
    assert value not in repr(read_token(value))
