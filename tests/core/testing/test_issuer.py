"""The issuer speaks as Dex does: what it takes, what it refuses, and how it says so."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jose import jwt

from imgctl_core.testing.fixtures import MakeSshKeys
from imgctl_core.testing.issuer import ABSENT, Connector, Issuer, SigningKey, User, encode_subject
from imgctl_core.testing.ssh import SshAgent
from imgctl_core.testing.tls import TlsFiles

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
GOLDEN_CLAIMS = (
    '{"aud":"https://dex.example.com","exp":4102444800,"iat":1700000000,'
    '"iss":"kubectl-ssh-oidc","jti":"000102030405060708090a0b0c0d0e0f","nbf":1700000000,'
    '"sub":"alice","target_audience":"imgctl"}'
)
GOLDEN_SIGNATURE = (
    "S25DQ0RhSkp3Zm1wOXNNcE5VOUdBUDN1bU5HVkV6RFEvR20vMTdwQ2k0eDhSL2ZvWmliendXT3dPWnY0TnFHc1Nl"
    "OVloV2dtZkVsaFcwcWVjb1BOQnc9PQ"
)
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


class Answer(Protocol):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Ask(Protocol):
    def __call__(self, url: str, method: str = "GET", *args: Any, **kwargs: Any) -> Answer: ...


def _url64(data: bytes | str) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _wrap(blob: bytes) -> str:
    return _url64(base64.b64encode(blob))


def _signed(claims: Mapping[str, object] | str, sign: Callable[[bytes], bytes] = KEY.sign) -> str:
    text = claims if isinstance(claims, str) else json.dumps(claims)
    content = _url64('{"alg":"SSH","typ":"JWT"}') + "." + _url64(text)
    return content + "." + _wrap(sign(content.encode()))


def _claims(issuer: Issuer, **other: object) -> dict[str, object]:
    now = int(time.time())
    return {
        "iss": "kubectl-ssh-oidc",
        "sub": "alice",
        "aud": issuer.url,
        "target_audience": "imgctl",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 120,
        "jti": "1",
    } | other


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    users = {
        "bob": User(keys=(LINE[:-1] + "b",)),
        "alice": User(keys=(f"{LINE} alice@laptop",), groups=("engineering@example.com",)),
    }
    with Issuer(users, {"imgctl-cli": "s3cret&+ %"}) as started:
        yield started


def _exchange(issuer: Issuer, ask: Ask, token: str, **fields: str | None) -> Answer:
    form: dict[str, str | None] = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "requested_token_type": ID_TOKEN,
        "connector_id": "ssh",
        "scope": "openid email groups profile",
        "client_id": "imgctl-cli",
        "client_secret": "s3cret&+ %",
    }
    kept = {name: value for name, value in (form | fields).items() if value is not None}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return ask(f"{issuer.url}/token", "POST", urlencode(kept).encode(), headers)


def _verified(issuer: Issuer, ask: Ask, token: str, audience: str) -> dict[str, Any]:
    """Check a token as a server would: by discovery, keys and python-jose."""
    discovery = json.loads(ask(f"{issuer.url}/.well-known/openid-configuration").body)
    assert discovery["issuer"] == issuer.url
    keys = json.loads(ask(discovery["jwks_uri"]).body)["keys"]
    kid = jwt.get_unverified_header(token)["kid"]
    (key,) = (key for key in keys if key["kid"] == kid)
    options = {"require_exp": True, "verify_at_hash": False}
    return jwt.decode(token, key, ["RS256"], options, audience, issuer.url)


def test_the_golden_vector(ask: Ask) -> None:
    token = _signed(GOLDEN_CLAIMS)
    assert token.endswith("." + GOLDEN_SIGNATURE)
    assert len(token) == 409
    connector = Connector(instance_id="https://dex.example.com")
    clients = {"cli": ""}
    with Issuer({"alice": User((LINE,))}, clients, connector=connector) as issuer:
        answer = _exchange(issuer, ask, token, client_id="cli", client_secret=None)
        assert answer.status == 200


def test_the_issued_token(issuer: Issuer, ask: Ask) -> None:
    answer = _exchange(issuer, ask, _signed(_claims(issuer)), audience="https://imgctl.example.com")
    body = json.loads(answer.body)
    assert answer.headers["Cache-Control"] == "no-store"
    assert body.keys() == {"access_token", "issued_token_type", "token_type", "expires_in"}
    assert body["issued_token_type"] == ID_TOKEN
    assert (body["token_type"], body["expires_in"]) == ("bearer", 86400)
    token = body["access_token"]
    assert jwt.get_unverified_header(token).keys() == {"alg", "kid"}
    claims = _verified(issuer, ask, token, "https://imgctl.example.com")
    assert claims["sub"] == "CgVhbGljZRIDc3No"
    assert claims["aud"] == "https://imgctl.example.com"
    assert claims["email"] == "alice@example.com"
    assert claims["email_verified"] is True
    assert claims["name"] == "alice"
    assert claims["groups"] == ["engineering@example.com"]
    assert claims["exp"] - claims["iat"] == 86400
    assert not {"azp", "jti", "at_hash", "nbf", "preferred_username"} & claims.keys()


def test_the_subject_token_may_come_again(issuer: Issuer, ask: Ask) -> None:
    token = _signed(_claims(issuer))
    assert [_exchange(issuer, ask, token).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"nbf": int(time.time()) + 3600}, "not good yet"),
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"exp": "4102444800"}, "no number"),
        ({"aud": ["x"]}, "another instance"),
        ({"aud": "https://dex.example.com/"}, "another instance"),
        ({"iss": "somebody"}, "iss is not allowed"),
        ({"sub": ""}, "sub is no string"),
        ({"target_audience": None}, "target_audience is no string"),
    ],
)
def test_bad_claims_are_refused_without_a_word(
    issuer: Issuer, ask: Ask, change: dict[str, object], why: str
) -> None:
    answer = _exchange(issuer, ask, _signed(_claims(issuer, **change)))
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "access_denied"})
    assert why in issuer.refusals[-1]


def test_nbf_has_no_leeway_at_all(ask: Ask) -> None:
    now = 1_700_000_000
    with Issuer({"alice": User((LINE,))}, {"cli": ""}, clock=lambda: now + 0.9) as issuer:

        def status(nbf: int) -> int:
            token = _signed(_claims(issuer, nbf=nbf, exp=now + 60))
            return _exchange(issuer, ask, token, client_id="cli", client_secret="").status

        assert (status(now), status(now + 1)) == (200, 401)


def test_what_is_not_checked(issuer: Issuer, ask: Ask) -> None:
    odd = _claims(issuer, sub="mallory", exp=time.time() + 1e9, jti=None, iat="never")
    del odd["nbf"]
    answer = _exchange(issuer, ask, _signed(odd))
    claims = _verified(issuer, ask, json.loads(answer.body)["access_token"], "imgctl-cli")
    assert claims["name"] == "alice"


def test_allowed_target_audiences(ask: Ask) -> None:
    connector = Connector(allowed_target_audiences=("kube",))
    with Issuer({"alice": User((LINE,))}, {"cli": ""}, connector=connector) as issuer:
        client = {"client_id": "cli", "client_secret": ""}
        good = _signed(_claims(issuer, target_audience="kube"))
        assert _exchange(issuer, ask, good, **client).status == 200
        assert _exchange(issuer, ask, _signed(_claims(issuer)), **client).status == 401


class TestSignatures:
    def _status(self, issuer: Issuer, ask: Ask, third: Callable[[bytes], str]) -> int:
        content = _signed(_claims(issuer)).rpartition(".")[0]
        return _exchange(issuer, ask, f"{content}.{third(KEY.sign(content.encode()))}").status

    def test_encodings(self, issuer: Issuer, ask: Ask) -> None:
        def lines(blob: bytes) -> str:
            return _url64(base64.encodebytes(blob))

        def whole(blob: bytes) -> bytes:
            return b"\0\0\0\x0bssh-ed25519\0\0\0\x40" + blob

        assert self._status(issuer, ask, _wrap) == 200
        assert self._status(issuer, ask, lines) == 200
        assert self._status(issuer, ask, _url64) == 401
        assert self._status(issuer, ask, lambda blob: _wrap(whole(blob))) == 401
        assert self._status(issuer, ask, lambda blob: _url64(_url64(blob))) == 401
        assert self._status(issuer, ask, lambda blob: _wrap(blob) + "==") == 401

    def test_headers(self, issuer: Issuer, ask: Ask) -> None:
        def status(header: str) -> int:
            content = f"{_url64(header)}.{_url64(json.dumps(_claims(issuer)))}"
            token = f"{content}.{_wrap(KEY.sign(content.encode()))}"
            return _exchange(issuer, ask, token).status

        assert status('{"typ":"x","alg":"SSH","crit":["y"]}') == 200
        assert status('{"alg":"ssh"}') == 401
        assert status('{"alg":"EdDSA"}') == 401
        assert status("[]") == 401

    def test_a_strangers_key(self, issuer: Issuer, ask: Ask) -> None:
        stranger = ed25519.Ed25519PrivateKey.generate()
        answer = _exchange(issuer, ask, _signed(_claims(issuer), stranger.sign))
        assert answer.status == 401
        assert "no user's key" in issuer.refusals[-1]

    @pytest.mark.parametrize(
        ("curve", "digest"),
        [
            (ec.SECP256R1(), hashes.SHA256()),
            (ec.SECP384R1(), hashes.SHA384()),
            (ec.SECP521R1(), hashes.SHA512()),
        ],
    )
    def test_ecdsa(
        self, issuer: Issuer, ask: Ask, curve: ec.EllipticCurve, digest: hashes.HashAlgorithm
    ) -> None:
        key = ec.generate_private_key(curve)
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        issuer.users["alice"] = User((line,))

        def sign(content: bytes) -> bytes:
            return b"".join(map(_mpint, decode_dss_signature(key.sign(content, ec.ECDSA(digest)))))

        assert _exchange(issuer, ask, _signed(_claims(issuer), sign)).status == 200
        longer = _signed(_claims(issuer), lambda content: sign(content) + b"\0")
        assert _exchange(issuer, ask, longer).status == 401

    def test_rsa_is_sha1_and_nothing_else(self, issuer: Issuer, ask: Ask) -> None:
        key = rsa.generate_private_key(65537, 2048)
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        issuer.users["alice"] = User((line,))

        def status(digest: hashes.HashAlgorithm) -> int:
            def sign(content: bytes) -> bytes:
                return key.sign(content, padding.PKCS1v15(), digest)

            return _exchange(issuer, ask, _signed(_claims(issuer), sign)).status

        assert (status(hashes.SHA1()), status(hashes.SHA256())) == (200, 401)

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_a_real_agent(
        self, kind: str, issuer: Issuer, ask: Ask, ssh_agent: SshAgent, ssh_keys: MakeSshKeys
    ) -> None:
        from paramiko import Agent, Message

        key = ssh_keys(kind)
        ssh_agent.add(key.private)
        issuer.users["alice"] = User((key.line,))
        agent = Agent()
        try:
            (held,) = agent.get_keys()

            def sign(content: bytes) -> bytes:
                signature = Message(bytes(held.sign_ssh_data(content)))
                signature.get_string()
                return signature.get_string()

            assert _exchange(issuer, ask, _signed(_claims(issuer), sign)).status == 200
        finally:
            agent.close()


def _mpint(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    ("fields", "status", "error", "description"),
    [
        ({"client_secret": "no"}, 401, "invalid_client", "Invalid client credentials."),
        ({"client_id": "no"}, 401, "invalid_client", "Invalid client credentials."),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", None),
        (
            {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"},
            *(400, "request_not_supported", "Invalid subject_token_type."),
        ),
        (
            {"requested_token_type": "urn:ietf:params:oauth:token-type:jwt"},
            *(400, "request_not_supported", "Invalid requested_token_type."),
        ),
        ({"subject_token": ""}, 400, "invalid_request", "Missing subject_token"),
        (
            {"connector_id": "ldap"},
            *(400, "invalid_request", "Requested connector does not exist."),
        ),
        ({"subject_token": "a.b.c"}, 401, "access_denied", None),
        ({"scope": "audience:server:client_id:x"}, 500, "server_error", None),
    ],
)
def test_the_table_of_errors(
    issuer: Issuer,
    ask: Ask,
    fields: dict[str, str | None],
    status: int,
    error: str,
    description: str | None,
) -> None:
    answer = _exchange(issuer, ask, _signed(_claims(issuer)), **fields)
    body = json.loads(answer.body)
    assert (answer.status, body["error"]) == (status, error)
    assert body.get("error_description") == description


def test_a_grant_that_is_off(ask: Ask) -> None:
    with Issuer(clients={"imgctl-cli": "s3cret&+ %"}, grant_enabled=False) as issuer:
        answer = _exchange(issuer, ask, "x")
        assert json.loads(answer.body) == {"error": "unsupported_grant_type"}


def test_basic_with_encoded_parts(issuer: Issuer, ask: Ask) -> None:
    login = f"imgctl-cli:{quote('s3cret&+ %', safe='')}".encode()
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": _signed(_claims(issuer)),
        "subject_token_type": ID_TOKEN,
        "connector_id": "ssh",
    }
    headers = {"Authorization": "Basic " + base64.b64encode(login).decode()}
    answer = ask(f"{issuer.url}/token", "POST", urlencode(form).encode(), headers)
    body = json.loads(answer.body)
    assert (answer.status, body["issued_token_type"]) == (200, ACCESS_TOKEN)
    claims = _verified(issuer, ask, body["access_token"], "imgctl-cli")
    assert "at_hash" in claims
    assert not {"groups", "email", "name"} & claims.keys()


def test_empty_groups_are_left_out(issuer: Issuer, ask: Ask) -> None:
    issuer.users["alice"] = User((LINE,))
    body = json.loads(_exchange(issuer, ask, _signed(_claims(issuer))).body)
    assert "groups" not in jwt.get_unverified_claims(body["access_token"])


def test_upstream_has_cross_client_scopes(ask: Ask) -> None:
    with Issuer(
        {"alice": User((LINE,))},
        {"imgctl-cli": "s3cret&+ %", "imgctl": "other"},
        trusted_peers={"imgctl": ("imgctl-cli",)},
        mode="upstream",
    ) as issuer:
        token = _signed(_claims(issuer))
        ignored = json.loads(_exchange(issuer, ask, token, audience="https://x").body)
        assert jwt.get_unverified_claims(ignored["access_token"])["aud"] == "imgctl-cli"
        scope = "openid audience:server:client_id:imgctl"
        body = json.loads(_exchange(issuer, ask, token, scope=scope).body)
        claims = _verified(issuer, ask, body["access_token"], "imgctl")
        assert (claims["aud"], claims["azp"]) == (["imgctl", "imgctl-cli"], "imgctl-cli")
        assert claims["jti"]


def test_rotation(issuer: Issuer, ask: Ask) -> None:
    old = issuer.token(audience="a")
    issuer.rotate()
    new = issuer.token(audience="a")
    assert jwt.get_unverified_header(old) != jwt.get_unverified_header(new)
    assert _verified(issuer, ask, old, "a")["sub"] == _verified(issuer, ask, new, "a")["sub"]
    issuer.rotate(keep_old=False)
    with pytest.raises(ValueError, match="not enough values"):
        _verified(issuer, ask, new, "a")


def test_keys_say_how_long_to_keep_them(issuer: Issuer, ask: Ask) -> None:
    answer = ask(f"{issuer.url}/keys")
    assert answer.headers["Cache-Control"].startswith("max-age=600")
    (key,) = json.loads(answer.body)["keys"]
    assert key.keys() == {"use", "kty", "kid", "alg", "n", "e"}
    assert len(key["kid"]) == 40
    assert ask(f"{issuer.url}/.well-known/jwks.json").status == 404


def test_tokens_to_order(issuer: Issuer) -> None:
    token = issuer.token("alice", audience=["a", "b"], exp="soon", email=ABSENT, extra=1)
    claims = jwt.get_unverified_claims(token)
    assert (claims["aud"], claims["azp"], claims["exp"]) == (["a", "b"], "b", "soon")
    assert claims["groups"] == ["engineering@example.com"]
    assert "email" not in claims
    assert "groups" not in jwt.get_unverified_claims(issuer.token("alice", groups=()))
    assert jwt.get_unverified_claims(issuer.token("x", connector_id="ldap"))[
        "sub"
    ] == encode_subject("x", "ldap")
    other = SigningKey.generate(1024)
    header = {"alg": "RS256", "kid": issuer.key.kid, "typ": "JWT"}
    forged = issuer.token(headers=header, key=other)
    assert jwt.get_unverified_header(forged) == header
    assert forged.rpartition(".")[2] != issuer.token(headers=header).rpartition(".")[2]


def test_down_and_up_again(issuer: Issuer, ask: Ask) -> None:
    url = issuer.url
    issuer.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(f"{url}/keys")
    issuer.start()
    assert issuer.url == url
    assert ask(f"{url}/keys").status == 200
    assert issuer.count("GET", "/keys") == 1


def test_tls_and_a_path(tls_files: TlsFiles, ask: Ask) -> None:
    with Issuer(path="/dex", tls_cert=tls_files.cert, tls_key=tls_files.key) as issuer:
        assert issuer.url.startswith("https://127.0.0.1:")
        document = ask(f"{issuer.url}/.well-known/openid-configuration", ca_file=tls_files.ca)
        assert json.loads(document.body)["token_endpoint"] == f"{issuer.url}/token"


def test_it_runs_as_a_program(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "id.pub").write_text(LINE)
    command = [sys.executable, "-m", "imgctl_core.testing.issuer", "--path", "/dex"]
    command += ["--user", f"alice={tmp_path / 'id.pub'}", "--group", "alice=eng"]
    command += ["--client", "imgctl-cli=s3cret&+ %"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        twin = Issuer()
        token = _signed(_claims(twin, aud=url))
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": token,
            "subject_token_type": ACCESS_TOKEN,
            "connector_id": "ssh",
            "scope": "groups",
            "client_id": "imgctl-cli",
            "client_secret": "s3cret&+ %",
        }
        body = json.loads(ask(f"{url}/token", "POST", urlencode(form).encode()).body)
        assert jwt.get_unverified_claims(body["access_token"])["groups"] == ["eng"]
    finally:
        process.terminate()
        process.communicate()
