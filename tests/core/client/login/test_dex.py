"""Discovery and the exchange at Dex: what is sent, and what each answer becomes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_core.client import sshjwt
from imgctl_core.client.dex import Dex, Provider, dex_url
from imgctl_core.client.dexanswers import KeyRefused
from imgctl_core.client.dexhttp import DexHttp
from imgctl_core.client.keyfiles import FileSigner
from imgctl_core.client.login import LoginSettings, Token
from imgctl_core.client.sshkeys import read_public_key
from imgctl_core.errors import ImgctlError, InvalidSetting, IssuerUnreachable, LoginRefused
from imgctl_core.testing.ssh import SshKeyFiles

if TYPE_CHECKING:
    from tests.core.client.login.conftest import FakeDex, Reply

MakeReply = Callable[..., "Reply"]
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


def talk(settings: LoginSettings) -> Dex:
    url = dex_url(settings)
    return Dex(settings, DexHttp(url, ca_file=settings.ca_file), url)


def discover(settings: LoginSettings) -> Provider:
    with talk(settings) as dex:
        return dex.discover()


def subject_token(settings: LoginSettings, issuer: str, files: SshKeyFiles) -> str:
    claims = sshjwt.claims(
        username="alice", issuer=issuer, audience=settings.wanted_audience, now=time.time()
    )
    signed = sshjwt.signing_input(claims)
    signer = FileSigner(files.private, read_public_key(files.public), None)
    return sshjwt.assemble(signed, signer.sign(signed))


@pytest.fixture
def exchange(dex: FakeDex, key_set: dict[str, SshKeyFiles]) -> Callable[[LoginSettings], Token]:
    """Return a function that logs in with the Ed25519 key."""

    def run(settings: LoginSettings) -> Token:
        with talk(settings) as conversation:
            provider = conversation.discover()
            token = subject_token(settings, provider.issuer, key_set["ed25519"])
            return conversation.exchange(provider, token, "the key", time.time())

    return run


Exchange = Callable[[LoginSettings], Token]


def test_discovery(dex: FakeDex, settings: LoginSettings) -> None:
    provider = discover(settings)
    assert provider.issuer == dex.issuer
    assert provider.token_endpoint == f"{dex.issuer}/token"
    assert provider.ahead is not None
    assert abs(provider.ahead) < 2
    assert dex.requests == [("GET", "/dex/.well-known/openid-configuration")]


@pytest.mark.parametrize(("given", "named"), [("/", ""), ("", "/"), ("/", "/")])
def test_a_trailing_slash_is_no_difference(
    given: str, named: str, dex: FakeDex, settings: LoginSettings
) -> None:
    dex.discovery["issuer"] = dex.issuer + named
    provider = discover(dataclasses.replace(settings, dex_url=dex.issuer + given))
    assert provider.issuer == dex.issuer + named  # Exactly as Dex spells it.
    assert dex.requests == [("GET", "/dex/.well-known/openid-configuration")]


@pytest.mark.parametrize("issuer", ["https://other.example", None, 7, "", "HTTP://127.0.0.1"])
def test_another_issuer(issuer: object, dex: FakeDex, settings: LoginSettings) -> None:
    dex.discovery["issuer"] = issuer
    with pytest.raises(InvalidSetting, match="calls itself"):
        discover(settings)
    assert len(dex.requests) == 1


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("https://evil.example/token", "another host or port"),
        ("http://127.0.0.1:1/token", "another host or port"),
        ("http://localhost:{port}/dex/token", "another host or port"),
        ("http://evil.example/token", "not encrypted"),
        ("file:///etc/passwd", "not an https:// URL"),
        ("/dex/token", "not an https:// URL"),
        (None, "not an https:// URL"),
    ],
)
def test_token_endpoints_elsewhere(
    endpoint: str | None, says: str, dex: FakeDex, settings: LoginSettings
) -> None:
    port = dex.origin.rpartition(":")[2]
    dex.discovery["token_endpoint"] = endpoint and endpoint.format(port=port)
    with pytest.raises(IssuerUnreachable, match=says):
        discover(settings)


@pytest.mark.parametrize(
    ("status", "raw", "headers", "says"),
    [
        (404, b"not found", {}, "status 404"),
        (500, b"{}", {}, "status 500"),
        (200, b"<html>", {}, "no JSON object"),
        (200, b"[]", {}, "no JSON object"),
        (200, b"\xff\xfe", {}, "no JSON object"),
        (200, b"[" * 100_000, {}, "no JSON object"),
        (200, b"{}" + b" " * (1024 * 1024), {}, "longer than 1 MiB"),
        (302, b"", {"Location": "https://evil.example/"}, "redirects to https://evil.example/"),
        (200, b"\x1f\x8b\x08", {"Content-Encoding": "gzip"}, "no JSON object"),
    ],
)
def test_what_is_no_discovery(
    status: int,
    raw: bytes,
    headers: dict[str, str],
    says: str,
    dex: FakeDex,
    settings: LoginSettings,
    reply: MakeReply,
) -> None:
    dex.answer("/.well-known/openid-configuration", reply(status, raw=raw, headers=headers))
    with pytest.raises(IssuerUnreachable, match=says) as caught:
        discover(settings)
    assert caught.value.fix
    assert len(dex.requests) == 1


def test_the_form(
    dex: FakeDex,
    settings: LoginSettings,
    exchange: Exchange,
    key_set: dict[str, SshKeyFiles],
    split: Callable[[str], tuple[bytes, bytes, dict[str, Any], dict[str, Any]]],
) -> None:
    dex.know(key_set["ed25519"])
    token = exchange(settings)
    (form,) = dex.forms
    _, _, header, claims = split(form.pop("subject_token"))
    assert header == {"alg": "SSH", "typ": "JWT"}
    assert claims["aud"] == dex.issuer
    assert claims["target_audience"] == settings.audience
    assert form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "requested_token_type": ID_TOKEN,
        "connector_id": "ssh",
        "scope": "openid email groups profile",
        "client_id": dex.client[0],
        "client_secret": dex.client[1],
        "audience": settings.audience,
    }
    assert token.audiences == (settings.audience,)
    assert token.claims["email"] == "alice@example.com"
    assert token.expires_at == pytest.approx(time.time() + 3600, abs=60)


def test_cross_client_audience(
    dex: FakeDex, settings: LoginSettings, exchange: Exchange, key_set: dict[str, SshKeyFiles]
) -> None:
    dex.know(key_set["ed25519"])
    dex.audience_parameter = False
    mode = dataclasses.replace(settings, audience="imgctl", audience_mode="cross-client")
    token = exchange(mode)
    assert token.audiences == ("imgctl", "imgctl-cli")
    assert token.claims["azp"] == "imgctl-cli"
    assert "audience" not in dex.forms[0]
    assert dex.forms[0]["scope"].endswith(" profile audience:server:client_id:imgctl")


def test_client_id_audience(
    dex: FakeDex, settings: LoginSettings, exchange: Exchange, key_set: dict[str, SshKeyFiles]
) -> None:
    dex.know(key_set["ed25519"])
    token = exchange(dataclasses.replace(settings, audience_mode="client-id"))
    assert token.audiences == ("imgctl-cli",)
    assert "audience" not in dex.forms[0]
    assert dex.forms[0]["scope"] == "openid email groups profile"


def test_an_empty_client_secret_is_sent_empty(
    dex: FakeDex, settings: LoginSettings, exchange: Exchange, key_set: dict[str, SshKeyFiles]
) -> None:
    dex.know(key_set["ed25519"])
    dex.client = ("public", "")
    exchange(dataclasses.replace(settings, client_id="public", client_secret=""))
    assert dex.forms[0]["client_secret"] == ""


ROWS = [
    (401, "access_denied", "", "audience", KeyRefused, "with the key", "dex_instance_id must be"),
    (
        401,
        "invalid_client",
        "Invalid client credentials.",
        "audience",
        LoginRefused,
        "the client 'imgctl-cli'",
        "--client-secret",
    ),
    (
        400,
        "request_not_supported",
        "Invalid subject_token_type.",
        "audience",
        LoginRefused,
        "token types of the exchange: Invalid subject_token_type",
        "which version",
    ),
    (
        400,
        "request_not_supported",
        "Invalid requested_token_type.",
        "audience",
        LoginRefused,
        "Invalid requested_token_type",
        "which version",
    ),
    (
        400,
        "invalid_request",
        "Missing subject_token",
        "audience",
        LoginRefused,
        "invalid_request: Missing subject_token",
        "Dex's log",
    ),
    (
        400,
        "invalid_request",
        "Requested connector does not exist.",
        "audience",
        LoginRefused,
        "has no connector 'ssh'",
        "--connector-id",
    ),
    (
        400,
        "invalid_request",
        "Requested connector does not support token exchange.",
        "audience",
        LoginRefused,
        "connector 'ssh' can't log anyone in",
        "--connector-id",
    ),
    (
        400,
        "invalid_request",
        "Requested connector does not support this grant type.",
        "audience",
        LoginRefused,
        "connector 'ssh' can't log anyone in",
        "--connector-id",
    ),
    (
        400,
        "invalid_grant",
        "Connector not allowed for this client.",
        "audience",
        LoginRefused,
        "does not let the client 'imgctl-cli' use the connector 'ssh'",
        "allowedConnectors",
    ),
    (
        400,
        "unsupported_grant_type",
        "",
        "audience",
        LoginRefused,
        "does not exchange tokens",
        "oauth2.grantTypes",
    ),
    (
        500,
        "server_error",
        "",
        "cross-client",
        LoginRefused,
        "does not trust with the audience",
        "add imgctl-cli to trustedPeers of the client https://imgctl.example.com",
    ),
    (400, "invalid_scope", "bad", "cross-client", LoginRefused, "scopes", "trustedPeers"),
    (500, "server_error", "", "audience", IssuerUnreachable, "status 500", "try again"),
    (502, "", "", "audience", IssuerUnreachable, "no reason given", "try again"),
    (429, "", "", "audience", IssuerUnreachable, "status 429", "try again"),
    (404, "", "", "audience", IssuerUnreachable, "no token endpoint", "--dex-url"),
    (418, "teapot", "short", "audience", LoginRefused, "teapot: short", "Dex's log"),
]


@pytest.mark.parametrize(("status", "error", "text", "mode", "kind", "says", "fix"), ROWS)
def test_every_refusal_says_what_to_do(
    status: int,
    error: str,
    text: str,
    mode: str,
    kind: type[ImgctlError],
    says: str,
    fix: str,
    dex: FakeDex,
    settings: LoginSettings,
    exchange: Exchange,
    refuse: MakeReply,
) -> None:
    dex.answer("/token", refuse(status, error, text))
    with pytest.raises(kind) as caught:
        exchange(dataclasses.replace(settings, audience_mode=mode))
    assert type(caught.value) is kind
    assert says in caught.value.message
    assert fix in caught.value.fix


def test_a_client_without_a_secret_is_told_so(
    dex: FakeDex, settings: LoginSettings, exchange: Exchange
) -> None:
    with pytest.raises(LoginRefused, match="'imgctl-cli' with no secret"):
        exchange(dataclasses.replace(settings, client_secret=""))


def test_the_real_refusals(
    dex: FakeDex, settings: LoginSettings, exchange: Exchange, key_set: dict[str, SshKeyFiles]
) -> None:
    with pytest.raises(KeyRefused):
        exchange(settings)
    dex.know(key_set["ed25519"])
    with pytest.raises(LoginRefused, match="client 'other'"):
        exchange(dataclasses.replace(settings, client_id="other"))
    with pytest.raises(LoginRefused, match="no connector 'ldap'"):
        exchange(dataclasses.replace(settings, connector_id="ldap"))
    dex.trusted = False
    with pytest.raises(LoginRefused, match="does not trust"):
        exchange(dataclasses.replace(settings, audience_mode="cross-client"))


@pytest.mark.parametrize(
    ("offset", "says"), [(-90, ", and your clock is 90 s ahead of"), (400, "400 s behind Dex's")]
)
def test_a_wrong_clock(
    offset: int,
    says: str,
    dex: FakeDex,
    settings: LoginSettings,
    exchange: Exchange,
    key_set: dict[str, SshKeyFiles],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dex.know(key_set["ed25519"])
    start = time.time()
    monkeypatch.setattr(time, "time", lambda: start)
    # DexHttp and the test's own claims use this clock, Dex one that is off.
    dex.clock = lambda: int(start) + offset
    with talk(settings) as conversation:
        conversation._http._clock = lambda: float(int(start))
        provider = conversation.discover()
        token = subject_token(settings, provider.issuer, key_set["ed25519"])
        with pytest.raises(KeyRefused) as caught:
            conversation.exchange(provider, token, "the key", start)
    assert says in caught.value.message
    assert caught.value.fix.startswith("set this machine's clock")


@pytest.mark.parametrize("offset", [-50, 0, 170])
def test_a_clock_that_is_good_enough(
    offset: int,
    dex: FakeDex,
    settings: LoginSettings,
    exchange: Exchange,
    key_set: dict[str, SshKeyFiles],
) -> None:
    dex.know(key_set["ed25519"])
    dex.clock = lambda: time.time() + offset
    assert exchange(settings).audiences == (settings.audience,)


def test_no_word_of_a_right_clock(
    dex: FakeDex, settings: LoginSettings, exchange: Exchange
) -> None:
    with pytest.raises(KeyRefused) as caught:
        exchange(settings)
    assert "clock" not in caught.value.message + caught.value.fix


def test_no_redirect_with_a_secret(
    dex: FakeDex,
    settings: LoginSettings,
    exchange: Exchange,
    reply: MakeReply,
    start_dex: Callable[..., FakeDex],
) -> None:
    other = start_dex()
    for status in (301, 302, 303, 307, 308):
        location = {"Location": f"{other.issuer}/token"}
        dex.answer("/token", reply(status, body={}, headers=location))
        with pytest.raises(IssuerUnreachable, match="redirects the login"):
            exchange(settings)
    assert other.requests == []


def test_an_echoed_secret_is_not_repeated(
    dex: FakeDex, settings: LoginSettings, exchange: Exchange, refuse: MakeReply
) -> None:
    secret = settings.client_secret
    dex.answer("/token", refuse(400, "odd", f"no client with secret {secret}"))
    with pytest.raises(LoginRefused) as caught:
        exchange(settings)
    assert secret not in caught.value.message + caught.value.fix
    dex.answer("/token", refuse(400, "odd", "\x1b[2J\u202e" + "x" * 1000))
    with pytest.raises(LoginRefused) as caught:
        exchange(settings)
    assert "\x1b" not in caught.value.message
    assert "\u202e" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}, "another kind"),
        ({"issued_token_type": None}, "another kind"),
        ({"access_token": None}, "another kind"),
        ({"access_token": "opaque"}, "of no use: it has not the three parts"),
        ({"access_token": "a.b.c.d"}, "three parts"),
        ({"access_token": "a.e30.c"}, "no expiry time"),
    ],
)
def test_answers_that_are_no_id_token(
    change: dict[str, object],
    says: str,
    dex: FakeDex,
    settings: LoginSettings,
    exchange: Exchange,
    key_set: dict[str, SshKeyFiles],
    reply: MakeReply,
) -> None:
    dex.know(key_set["ed25519"])
    exchange(settings)
    usual = dex.usual("/dex/token", dex.forms[0]).body
    assert isinstance(usual, dict)
    dex.answer("/token", reply(body={**usual, **change}))
    with pytest.raises(LoginRefused, match=says):
        exchange(settings)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]"])
def test_answers_that_are_nothing(
    raw: bytes, dex: FakeDex, settings: LoginSettings, exchange: Exchange, reply: MakeReply
) -> None:
    dex.answer("/token", reply(raw=raw))
    with pytest.raises(IssuerUnreachable, match="no JSON object"):
        exchange(settings)


@pytest.mark.parametrize(
    ("claims", "says", "fix"),
    [
        ({"exp": 1000}, "already expired", "clock"),
        ({"iss": "https://evil.example"}, "another issuer", "who runs Dex"),
        ({"aud": "someone"}, "for someone, not for https://imgctl", "cross-client"),
        ({"aud": []}, "for nobody", "cross-client"),
    ],
)
def test_tokens_that_are_not_ours(
    claims: dict[str, object],
    says: str,
    fix: str,
    dex: FakeDex,
    settings: LoginSettings,
    exchange: Exchange,
    key_set: dict[str, SshKeyFiles],
) -> None:
    dex.know(key_set["ed25519"])
    dex.claims = claims
    with pytest.raises(LoginRefused, match=says) as caught:
        exchange(settings)
    assert fix in caught.value.fix


def test_stock_dex_ignores_the_audience_parameter(
    dex: FakeDex, settings: LoginSettings, exchange: Exchange, key_set: dict[str, SshKeyFiles]
) -> None:
    dex.know(key_set["ed25519"])
    dex.audience_parameter = False
    with pytest.raises(LoginRefused, match="for imgctl-cli, not for") as caught:
        exchange(settings)
    assert "--audience-mode cross-client" in caught.value.fix


def test_plain_http_to_others_is_refused_without_network() -> None:
    settings = LoginSettings("http://dex.example.com", "c", "s", "a")
    with pytest.raises(InvalidSetting, match="not encrypted"):
        dex_url(settings)
