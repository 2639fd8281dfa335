"""Why a server may have refused a token."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from imgctl_core.client.login import LoginSettings, Token, explain_refusal

NOW = 1_000_000.0
SETTINGS = LoginSettings(
    dex_url="https://dex.example.com",
    client_id="cli",
    client_secret="s3cret",
    audience="https://imgctl.example.com",
)
GOOD: dict[str, object] = {
    "iss": "https://dex.example.com",
    "aud": "https://imgctl.example.com",
    "sub": "CgVhbGljZRIDc3No",
    "iat": NOW - 10,
    "exp": NOW + 3600,
}


@pytest.mark.parametrize(
    ("change", "message", "fix"),
    [
        ({"exp": NOW - 90}, "expired 90 s ago", "run the command again"),
        ({"exp": NOW}, "expired 0 s ago", "run the command again"),
        ({"iat": NOW + 100}, "your clock is at least 100 s behind", "set this machine's clock"),
        ({"nbf": NOW + 100}, "not valid for another 100 s", "set this machine's clock"),
        ({"iss": "https://other"}, "from https://other, not from https://dex", "--dex-url"),
        ({"iss": 7}, "from nobody", "--dex-url"),
        ({"aud": "https://x"}, "for https://x, not for https://imgctl", "--audience"),
        ({"aud": ["x", "y"]}, "for x or y, not for", "OIDC_AUDIENCE"),
        ({"aud": None}, "for nobody", "--audience"),
        ({"groups": ["g" * 60] * 150}, "bytes long", "fewer groups"),
        ({"exp": NOW + 10 * 86400}, "good for 240 hours", "OIDC_MAX_TOKEN_LIFETIME"),
        ({"sub": "CgNib2ISBmdpdGh1Yg"}, "connector 'github'", "OIDC_ALLOWED_CONNECTORS"),
    ],
)
def test_what_is_wrong(
    change: dict[str, object], message: str, fix: str, make_token: Callable[..., Token]
) -> None:
    said, todo = explain_refusal(make_token(**{**GOOD, **change}), SETTINGS, NOW)
    assert message in said
    assert fix in todo


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"iat": NOW + 20, "nbf": NOW + 20},
        {"iat": "yesterday"},
        {"iss": "https://dex.example.com/"},
        {"aud": ["cli", "https://imgctl.example.com"]},
        {"sub": "alice"},
        {"sub": ""},
        {"sub": "!!!"},
        {"sub": None},
        {"sub": "Cv9hbGljZRIDc3No"},
        {"exp": NOW + 86400},
    ],
)
def test_nothing_is_wrong_from_here(
    change: dict[str, object], make_token: Callable[..., Token]
) -> None:
    token = make_token(**{**GOOD, **change})
    said, todo = explain_refusal(token, SETTINGS, NOW)
    assert said.startswith("nothing is wrong with the token from here")
    assert "good for 0.0" not in said
    assert f"OIDC_ISSUER_URL must be exactly {token.claims['iss']}," in todo
    assert "https://imgctl.example.com" in todo


def test_a_token_with_nothing_wrong_is_described(make_token: Callable[..., Token]) -> None:
    said, todo = explain_refusal(make_token(**GOOD, azp="cli"), SETTINGS, NOW)
    assert "given to cli" in said
    assert re.search(r"good for [0-9.]+ hours", said)
    # The typo may be ours: nobody must change a server because of it.
    assert todo.startswith("if --audience (IMGCTL_AUDIENCE)")


def test_client_id_mode_wants_the_client(make_token: Callable[..., Token]) -> None:
    settings = LoginSettings(
        dex_url="https://dex.example.com",
        client_id="cli",
        client_secret="",
        audience="https://imgctl.example.com",
        audience_mode="client-id",
    )
    said, _ = explain_refusal(make_token(**{**GOOD, "aud": "cli"}), settings, NOW)
    assert said.startswith("nothing is wrong")
    said, _ = explain_refusal(make_token(**GOOD), settings, NOW)
    assert "not for cli" in said


def test_claims_are_shown_harmlessly(make_token: Callable[..., Token]) -> None:
    said, todo = explain_refusal(make_token(**{**GOOD, "iss": "\x1b[2J"}), SETTINGS, NOW)
    assert "\x1b" not in said + todo
