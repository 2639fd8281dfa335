"""`imgctl login` and `imgctl logout`, over a scripted Dex and a real cache."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imgctl_core.client.login import LoginSettings, Token
from imgctl_core.client.tokencache import TokenCache, default_directory, entry_name
from imgctl_core.errors import LoginRefused

CLAIMS: dict[str, object] = {
    "iss": "https://dex.test",
    "sub": "CgVhbGljZRIDc3No",
    "name": "Alice",
    "email": "alice@example.com",
    "groups": ["eng", "release"],
    "aud": ["https://localhost", "imgctl-cli"],
}


class TestLogin:
    def test_shows_who_and_how_long_and_not_the_token(self, run: Any, dex: Any) -> None:
        dex.claims = CLAIMS
        ran = run("login")
        assert ran.code == 0
        assert ran.out.splitlines()[0] == "logged in as alice@example.com"
        for text in ("https://dex.test", "eng, release", "https://localhost, imgctl-cli", "2100"):
            assert text in ran.out
        assert "first-token" not in ran.out + ran.err

    def test_asks_dex_whatever_is_cached_and_the_server_not_at_all(
        self, run: Any, dex: Any, server: Any
    ) -> None:
        assert run("login", "-s", "imgctl.example.com:443").code == 0
        ((settings, use_cache),) = dex.logins
        assert settings.audience == "https://imgctl.example.com"
        assert settings.allow_rsa_sha1
        assert not use_cache
        assert server.asked == []

    def test_as_json(self, run: Any, dex: Any) -> None:
        dex.claims = CLAIMS
        ran = run("login", "-o", "json")
        assert json.loads(ran.out) == {
            "schema_version": 1,
            "subject": "CgVhbGljZRIDc3No",
            "name": "Alice",
            "email": "alice@example.com",
            "groups": ["eng", "release"],
            "audiences": ["https://localhost", "imgctl-cli"],
            "expires_at": "2100-01-01T00:00:00Z",
            "issuer": "https://dex.test",
        }

    def test_the_token_only_when_asked(self, run: Any, dex: Any) -> None:
        assert run("login", "--show-token").out.splitlines()[0] == "first-token"
        assert json.loads(run("login", "-o", "json", "--show-token").out)["token"] == "second-token"

    def test_a_token_that_says_little(self, run: Any, dex: Any) -> None:
        ran = run("login")
        assert (ran.code, ran.err) == (0, "")
        assert "  groups:         none" in ran.out

    def test_no_rsa(self, run: Any, dex: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        run("login", "--no-rsa-sha1")
        monkeypatch.setenv("IMGCTL_RSA_SHA1", "no")
        run("promote", "a:1", "-d", "prod")
        assert [settings.allow_rsa_sha1 for settings, _ in dex.logins] == [False, False]

    def test_asks_for_a_passphrase_only_between_a_terminal_and_a_terminal(
        self, run: Any, dex: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dex.tokens = ["token"] * 4
        for stdin, stderr in ((True, True), (True, False), (False, True), (False, False)):
            streams = SimpleNamespace(
                stdin=SimpleNamespace(isatty=lambda stdin=stdin: stdin),
                stderr=SimpleNamespace(isatty=lambda stderr=stderr: stderr),
            )
            monkeypatch.setattr("imgctl_cli.connection.sys", streams)
            assert run("login").code == 0
        assert dex.may_ask == [True, False, False, False]

    def test_refused(self, run: Any, dex: Any) -> None:
        dex.error = LoginRefused("Dex refused the login", fix="do this")
        ran = run("login", "-o", "json")
        assert (ran.code, ran.out) == (4, "")
        assert json.loads(ran.err)["error"]["fix"] == "do this"


@pytest.fixture
def cached(home: Path) -> TokenCache:
    """Return a cache with tokens for two servers, one of them of two keys."""
    cache = TokenCache(default_directory())
    settings = LoginSettings("https://dex.test", "cli", "", "https://localhost")
    for key, audience in (("one", "https://localhost"), ("two", "https://localhost"), ("one", "b")):
        claims = {"exp": int(time.time()) + 3600, "iss": "https://dex.test", "aud": [audience]}
        chosen = dataclasses.replace(settings, audience=audience)
        assert cache.store(entry_name(chosen, key=key), Token(_jwt(claims), 0.0, claims))
    return cache


def _jwt(claims: dict[str, Any]) -> str:
    from base64 import urlsafe_b64encode

    return f"h.{urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


class TestLogout:
    def test_of_this_server(self, run: Any, cached: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DEX_URL", "https://dex.test/")
        assert run("logout").out == "forgot 2 cached tokens\n"
        assert run("logout").out == "there was no cached token to forget\n"
        assert json.loads(run("logout", "--audience", "b", "-o", "json").out) == {
            "schema_version": 1,
            "forgotten": 1,
        }

    def test_of_another_dex(self, run: Any, cached: Any) -> None:
        ran = run("logout", "--dex-url", "https://other.test")
        assert (ran.code, ran.out) == (0, "there was no cached token to forget\n")

    def test_all(self, run: Any, cached: Any) -> None:
        assert run("logout", "--all").out == "forgot 3 cached tokens\n"
        assert run("logout", "--all").code == 0

    def test_by_client(self, run: Any, cached: Any) -> None:
        ran = run(
            "logout", "--dex-url", "https://dex.test", "--audience-mode", "client-id",
            "--client-id", "b",
        )  # fmt: skip
        assert ran.out == "forgot 1 cached token\n"

    @pytest.mark.parametrize(
        ("args", "missing"),
        [
            ((), "dex url"),
            (("--dex-url", "https://dex.test", "--audience-mode", "client-id"), "client id"),
        ],
    )
    def test_what_is_meant_must_be_known(self, run: Any, args: Any, missing: str) -> None:
        ran = run("logout", *args)
        assert ran.code == 2
        assert missing in ran.err
