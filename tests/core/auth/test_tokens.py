"""Good tokens, and what the verifier makes of them."""

from __future__ import annotations

import hashlib
import logging
import random
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_core.auth.refusal import WrongConnector, token_refused
from imgctl_core.auth.tokens import TokenVerifier
from imgctl_core.errors import NotAuthorized, TokenRefused
from imgctl_core.models import Actor
from tests.core.auth.attacks import P256_ORDER
from tests.core.auth.kit import b64

if TYPE_CHECKING:
    from tests.core.auth.kit import Kit


def test_1_a_good_token_becomes_an_actor(kit: Kit) -> None:
    token = kit.token()
    fingerprint = hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:16]
    verifier: TokenVerifier = kit.verifier()
    assert verifier.verify(token) == Actor(
        issuer=kit.issuer,
        subject=kit.alice,
        name="alice",
        email="alice@example.com",
        groups=("promoters", "everyone"),
        connector="ssh",
        token_id=fingerprint,
        expires_at=datetime.fromtimestamp(kit.clock.now + 3600, UTC),
        issued_at=datetime.fromtimestamp(kit.clock.now - 5, UTC),
        token_sha256=fingerprint,
    )


def test_1_es256(kit: Kit) -> None:
    assert kit.verifier().verify(kit.token(kit.ec)).name == "alice"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://imgctl.example.com", "cli"], "azp": "cli"},
        {"aud": ["cli", "https://imgctl.example.com"], "azp": "cli"},
        {"aud": ["https://imgctl.example.com"]},
        {"azp": "cli"},
        {"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"},
        {"nbf": 1700000000},
        {"nonce": "n", "c_hash": "h", "federated_claims": {"connector_id": "x"}},
        {"preferred_username": "al"},
    ],
    ids=["aud-azp", "aud-last", "aud-alone", "azp", "dex-access-token", "nbf", "others", "user"],
)
def test_1_other_forms_of_a_good_token(kit: Kit, changes: dict[str, Any]) -> None:
    assert kit.verifier().verify(kit.token(**changes)).subject == kit.alice


def test_1_typ_jwt(kit: Kit) -> None:
    assert kit.verifier().verify(kit.token(header={"typ": "JWT"})).name == "alice"


def test_1_fractions_of_seconds(kit: Kit) -> None:
    now = kit.clock.now
    actor = kit.verifier().verify(kit.token(exp=now + 60.5, iat=now - 0.25))
    assert actor.expires_at == datetime.fromtimestamp(now + 60.5, UTC)


def test_24_just_inside_the_leeway(kit: Kit) -> None:
    now = kit.clock.now
    assert kit.verifier().verify(kit.token(exp=now - 10, iat=now - 100)).name == "alice"


def test_24_our_own_clock_counts_too(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    token = kit.token()
    verifier = kit.verifier()
    kit.clock.advance(3629.5)
    verifier.verify(token)
    kit.clock.advance(0.5)
    caplog.set_level(logging.INFO, "imgctl")
    with pytest.raises(TokenRefused):
        verifier.verify(token)
    assert caplog.messages == ["token refused: times.expired"]


def test_28_the_longest_life_and_not_a_second_more(kit: Kit) -> None:
    now = kit.clock.now
    verifier = kit.verifier(max_lifetime=3600, leeway=30)
    verifier.verify(kit.token(exp=now + 3625, iat=now - 5))
    with pytest.raises(TokenRefused):
        verifier.verify(kit.token(exp=now + 3626, iat=now - 5))


def test_29_not_before_by_our_own_clock(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    token = kit.token(nbf=kit.clock.now, iat=kit.clock.now - 1000)
    kit.clock.advance(-30)
    kit.verifier().verify(token)
    kit.clock.advance(-1)
    caplog.set_level(logging.INFO, "imgctl")
    with pytest.raises(TokenRefused):
        kit.verifier().verify(token)
    assert caplog.messages == ["token refused: times.not-before"]


def test_30_a_little_ahead_of_us_is_fine(kit: Kit) -> None:
    verifier = kit.verifier()
    verifier.verify(kit.token(iat=kit.clock.now + 30))
    with pytest.raises(TokenRefused):
        verifier.verify(kit.token(iat=kit.clock.now + 31))


def test_36_only_named_parties(kit: Kit) -> None:
    verifier = kit.verifier(authorized_parties=("cli",))
    both = ["https://imgctl.example.com", "x"]
    assert verifier.verify(kit.token(aud=both, azp="cli")).name == "alice"
    for azp in ("x", "CLI", None):
        with pytest.raises(TokenRefused):
            verifier.verify(kit.token(azp=azp))


def subject(*fields: tuple[int, bytes]) -> str:
    message = b"".join(bytes([tag, len(value)]) + value for tag, value in fields)
    return urlsafe_b64encode(message).rstrip(b"=").decode()


def test_38_another_connector_is_not_authorized(kit: Kit) -> None:
    token = kit.token(sub=subject((0x0A, b"alice"), (0x12, b"github")))
    with pytest.raises(WrongConnector) as denied:
        kit.verifier(allowed_connectors=("ssh", "ldap")).verify(token)
    assert denied.value.actor is not None
    assert (denied.value.actor.name, denied.value.actor.connector) == ("alice", "github")
    assert denied.value.message == "this server takes no logins by Dex's connector 'github'"
    assert denied.value.fix == "log in by a connector that it takes: ssh, ldap"
    assert kit.verifier(allowed_connectors=("github",)).verify(token).connector == "github"


@pytest.mark.parametrize(
    "sub",
    [
        "alice",
        "ssh",
        "not base64!",
        "CgVhbGljZRIDc3No=",
        subject((0x0A, b"alice")),
        subject((0x12, b"ssh")),
        subject((0x0A, b""), (0x12, b"ssh")),
        subject((0x0A, b"alice"), (0x12, b"")),
        subject((0x12, b"ssh"), (0x0A, b"alice")),
        subject((0x12, b"alice"), (0x0A, b"ssh")),
        subject((0x0A, b"alice"), (0x1A, b"ssh")),
        subject((0x0A, b"alice"), (0x0A, b"ssh")),
        subject((0x0A, b"alice"), (0x12, b"github"), (0x12, b"ssh")),
        subject((0x0A, b"alice"), (0x12, b"ssh"), (0x1A, b"x")),
        subject((0x0A, b"alice"), (0x12, b"ss\xff")),
        subject((0x0A, b"alice"), (0x12, b"SSH")),
        subject((0x0A, b"alice"), (0x12, b"ssh "))[:-2],
        urlsafe_b64encode(b"\x0a\xff\xff\xff\xff\x7f").decode().rstrip("="),
    ],
)
def test_38_a_subject_that_names_no_allowed_connector(kit: Kit, sub: str) -> None:
    with pytest.raises(NotAuthorized):
        kit.verifier().verify(kit.token(sub=sub))


def test_38_any_form_of_subject_when_all_connectors_count(kit: Kit) -> None:
    verifier = kit.verifier(allowed_connectors=("*",))
    plain = verifier.verify(kit.token(sub="alice"))
    assert (plain.subject, plain.connector) == ("alice", "")
    assert verifier.verify(kit.token()).connector == "ssh"


def test_38_a_long_user_id(kit: Kit) -> None:
    message = b"\x0a\xac\x02" + b"u" * 300 + b"\x12\x03ssh"
    sub = urlsafe_b64encode(message).rstrip(b"=").decode()
    assert kit.verifier().verify(kit.token(sub=sub)).connector == "ssh"


def test_39_no_groups(kit: Kit) -> None:
    verifier = kit.verifier()
    assert verifier.verify(kit.token(groups=None)).groups == ()
    assert verifier.verify(kit.token(groups=[])).groups == ()
    assert verifier.verify(kit.signed(kit.claims() | {"groups": None})).groups == ()


def test_64_a_token_may_be_used_again(kit: Kit) -> None:
    token, verifier = kit.token(), kit.verifier()
    assert verifier.verify(token) == verifier.verify(token)


def test_64_a_signatures_twin_has_no_other_fingerprint(kit: Kit) -> None:
    """(r, n - s) verifies wherever (r, s) does: that is ECDSA, not a forgery."""
    token, verifier = kit.token(kit.ec), kit.verifier()
    signed, _, signature = token.rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    s = int.from_bytes(P256_ORDER, "big") - int.from_bytes(raw[32:], "big")
    twin = f"{signed}.{b64(raw[:32] + s.to_bytes(32, 'big'))}"
    assert twin != token
    assert verifier.verify(twin) == verifier.verify(token)


def test_a_tokens_own_id_is_kept(kit: Kit) -> None:
    assert kit.verifier().verify(kit.token(jti="0a1b")).token_id == "0a1b"


def test_the_name_may_come_as_preferred_username(kit: Kit) -> None:
    token = kit.token(name=None, preferred_username="al")
    assert kit.verifier().verify(token).name == "al"


@pytest.mark.parametrize("verified", [False, "true", 1])
def test_an_unverified_address_is_nobodys_name(kit: Kit, verified: object) -> None:
    actor = kit.verifier().verify(kit.token(email_verified=verified))
    assert actor.email == ""
    assert actor.display == "alice"


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": ""},
        {"audience": ""},
        {"allowed_connectors": ()},
        {"allowed_connectors": "ssh"},
        {"allowed_connectors": ("",)},
    ],
)
def test_a_verifier_that_would_check_nothing_is_not_made(
    kit: Kit, settings: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"must be|could come in"):
        kit.verifier(**settings)


def test_65_the_log_holds_nothing_of_a_token(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "tell-no-one"
    tokens = [
        kit.token(iss=secret),
        kit.token(sub=secret, name=secret, email=secret),
        kit.token(header={"kid": secret}),
        kit.token(kit.other, {"kid": "rsa"}, jti=secret),
        kit.raw(b'{"alg": "' + secret.encode() + b'"}', b"{}"),
        secret,
    ]
    for token in tokens:
        with pytest.raises((TokenRefused, NotAuthorized)) as error:
            kit.verifier().verify(token)
        assert secret not in str(error.value) + error.value.fix
    assert len(caplog.messages) == len(tokens)
    for line in caplog.messages:
        assert secret not in line
        assert not any(part in line for token in tokens for part in token.split(".") if part)


def mutate(token: str, chance: random.Random) -> str:
    """Return the token with one small thing changed, which may be nothing."""
    at = chance.randrange(len(token))
    alphabet = string.ascii_letters + string.digits + "-_.=+/ \n\0é"
    letter = chance.choice(alphabet)
    match chance.randrange(7):
        case 0 | 1 | 2:
            return token[:at] + letter + token[at + 1 :]
        case 3:
            return token[:at] + letter + token[at:]
        case 4:
            return token[:at] + token[at + 1 :]
        case 5:
            end = min(len(token), at + chance.randrange(1, 40))
            return token[:at] + token[at:end][::-1] + token[end:]
        case _:
            segments = token.split(".")
            chance.shuffle(segments)
            return ".".join(segments)


@pytest.mark.parametrize("algorithm", ["rsa", "ec"])
def test_a_changed_token_is_never_accepted(kit: Kit, algorithm: str) -> None:
    verifier = kit.verifier()
    token = kit.token({"rsa": kit.rsa, "ec": kit.ec}[algorithm])
    chance = random.Random(f"imgctl {algorithm}")
    tried = 0
    while tried < 1000:
        changed = mutate(token, chance)
        if changed == token:
            continue
        with pytest.raises(TokenRefused) as refused:
            verifier.verify(changed)
        assert refused.value.message == token_refused().message
        tried += 1
        if tried % 100 == 0:
            assert verifier.verify(token).name == "alice"


def test_every_single_character_counts(kit: Kit) -> None:
    verifier, token = kit.verifier(), kit.token(kit.ec)
    for at, letter in enumerate(token):
        with pytest.raises(TokenRefused):
            verifier.verify(token[:at] + ("B" if letter == "A" else "A") + token[at + 1 :])
    assert verifier.verify(token).name == "alice"
