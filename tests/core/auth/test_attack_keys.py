"""The rows of the attack table about the issuer's keys, by the row's number."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey

from imgctl_core.auth.keys import KeySet, UnknownKey, usable_keys
from imgctl_core.errors import IssuerUnreachable, TokenRefused
from tests.core.auth.kit import VERIFIERS

if TYPE_CHECKING:
    from tests.core.auth.door import Door
    from tests.core.auth.kit import Kit, Signer

#: A published key, and a token that it would verify if it were taken.
Case = Callable[["Kit"], tuple[dict[str, object], str]]

OCT: dict[str, object] = {"kty": "oct", "kid": "bad", "k": "c2VjcmV0"}


def changed(**members: object) -> Case:
    """The good RSA key under another id, changed, and a token signed by it."""

    def build(kit: Kit) -> tuple[dict[str, object], str]:
        signer = replace(kit.rsa, kid="bad")
        return signer.jwk(**members), kit.token(signer)

    return build


def changed_ec(**members: object) -> Case:
    def build(kit: Kit) -> tuple[dict[str, object], str]:
        signer = replace(kit.ec, kid="bad")
        return signer.jwk(**members), kit.token(signer)

    return build


def signed_by(signer: Signer, kit: Kit) -> tuple[dict[str, object], str]:
    signer = replace(signer, kid="bad")
    return signer.jwk(alg=None), kit.token(signer)


def exponent_three(kit: Kit) -> tuple[dict[str, object], str]:
    weak = rsa.generate_private_key(public_exponent=3, key_size=2048)
    return signed_by(replace(kit.rsa, key=RSAKey.import_key(weak)), kit)


def exponent_one(kit: Kit) -> tuple[dict[str, object], str]:
    """A key whose signatures anybody can make: the padded digest is the signature."""
    return replace(kit.rsa, kid="bad").jwk(e="AQ"), kit.token(replace(kit.other, kid="bad"))


def private(kit: Kit) -> tuple[dict[str, object], str]:
    return changed(d=kit.rsa.key.as_dict(private=True)["d"])(kit)


def modulus_as_secret(kit: Kit) -> tuple[dict[str, object], str]:
    pem = kit.rsa.public(serialization.Encoding.PEM)
    return OCT | {"k": pem.hex()}, kit.token(header={"kid": "bad"})


KEYS: list[tuple[str, str, Case]] = [
    ("8-oct", "kty", lambda kit: (OCT, kit.token(header={"kid": "bad"}))),
    ("8-oct-of-pem", "kty", modulus_as_secret),
    ("8-okp", "kty", lambda kit: (
        {"kty": "OKP", "crv": "Ed25519", "kid": "bad", "x": "AAAA"},
        kit.token(header={"kid": "bad"}))),
    ("8-no-kty", "kty", changed(kty=None)),
    ("14-rsa-1024", "rsa.size", lambda kit: signed_by(kit.weak, kit)),
    ("14-e3", "rsa.exponent", exponent_three),
    ("14-e1", "rsa.exponent", exponent_one),
    ("14-no-n", "n", changed(n=None)),
    ("14-no-e", "e", changed(e=None)),
    ("14-n-int", "n", changed(n=65537)),
    ("14-n-padded", "n", changed(n="AQAB==")),
    ("15-enc", "use", changed(use="enc")),
    ("15-use-list", "use", changed(use=["sig"])),
    ("15-encrypt", "key_ops", changed(key_ops=["encrypt"])),
    ("15-sign", "key_ops", changed(key_ops=["sign"])),
    ("15-string", "key_ops", changed(key_ops="verify")),
    ("16-p384", "crv", lambda kit: (
        replace(kit.p384, kid="bad").jwk(alg="ES256"),
        kit.token(replace(kit.p384, kid="bad")))),
    ("16-named-p384", "crv", changed_ec(crv="P-384")),
    ("16-short", "ec.point", changed_ec(x="AAAA")),
    ("17-private", "private", private),
    ("17-private-ec", "private", changed_ec(d="AAAA")),
    ("61-rs512", "alg", changed(alg="RS512")),
    ("61-es256", "alg", changed(alg="ES256")),
    ("61-list", "alg", changed(alg=["RS256"])),
]  # fmt: skip


@pytest.mark.parametrize(("code", "case"), [row[1:] for row in KEYS], ids=[row[0] for row in KEYS])
class TestBadKey:
    """Both doors: a set never takes the key, and the verifier would not use it anyway."""

    def test_left_out_of_a_set_that_stays_good(self, kit: Kit, code: str, case: Case) -> None:
        jwk, _ = case(kit)
        found = usable_keys({"keys": [jwk, kit.rsa.jwk()]})
        assert list(found.keys) == ["rsa"]
        assert found.skipped == (code,)

    @pytest.mark.parametrize("library", VERIFIERS)
    def test_never_used(
        self,
        kit: Kit,
        door: Door,
        caplog: pytest.LogCaptureFixture,
        code: str,
        case: Case,
        library: str,
    ) -> None:
        jwk, token = case(kit)
        caplog.set_level(logging.INFO, "imgctl.auth")
        door.use(kit.publish(bad=jwk).verifier(library))
        assert door.knock(token) == door.knock("rubbish")
        if library == "python-jose":
            assert caplog.messages[0] == f"token refused: key.{code}"
        assert door.knock(kit.token()).name == "alice", "the good token must pass beside it"


@pytest.mark.parametrize("library", VERIFIERS)
def test_a_set_of_many_kinds_of_keys(kit: Kit, library: str) -> None:
    """Another curve and another type first, certificates, members that nobody knows."""
    okp = {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "alg": "EdDSA", "x": "AA"}
    more = {"x5c": ["MIIB"], "x5t": "dGh1bWI", "x5u": "https://evil.example.com", "iat": 1}
    rsa_key = kit.rsa.jwk(alg=None, key_ops=["verify"], **more)
    entries = [okp, kit.p384.jwk(), kit.ec.jwk(), {"kty": "new", "kid": "x"}, rsa_key]
    found = usable_keys({"keys": entries, "other": []})
    assert (list(found.keys), found.skipped) == (["ec", "rsa"], ("kty", "crv", "kty"))
    verifier = kit.publish(**found.keys).verifier(library)
    for signer in (kit.rsa, kit.ec):
        assert verifier.verify(kit.token(signer)).name == "alice"


@pytest.mark.parametrize("entry", [None, "rsa", [], 1, {}, {"kid": 1}, {"kid": ""}, {"kid": []}])
def test_rubbish_in_a_set_is_left_out(kit: Kit, entry: object) -> None:
    found = usable_keys({"keys": [entry, kit.ec.jwk()]})
    assert list(found.keys) == ["ec"]
    assert len(found.skipped) == 1


def test_a_point_beside_its_curve_is_left_out(kit: Kit) -> None:
    beside = kit.ec.jwk(y="A" * 43)
    assert usable_keys({"keys": [beside]}) == KeySet({}, ("numbers",))


def test_an_even_modulus_is_left_out(kit: Kit) -> None:
    even = kit.rsa.jwk(n="g" + "A" * 341)
    assert usable_keys({"keys": [even]}) == KeySet({}, ("n",))


def test_a_modulus_beyond_8192_bits_is_left_out(kit: Kit) -> None:
    huge = kit.rsa.jwk(n="_" * 1368)
    assert usable_keys({"keys": [huge]}).skipped == ("rsa.size",)


def test_the_first_of_two_keys_with_one_id_counts(kit: Kit) -> None:
    found = usable_keys({"keys": [kit.rsa.jwk(), kit.other.jwk(kid="rsa")]})
    assert found.keys["rsa"]["n"] == kit.rsa.jwk()["n"]
    assert found.skipped == ("kid.twice",)


def test_at_most_fifty_keys_are_kept(kit: Kit) -> None:
    entries = [kit.ec.jwk(kid=f"k{index}") for index in range(60)]
    found = usable_keys({"keys": entries})
    assert list(found.keys) == [f"k{index}" for index in range(50)]
    assert found.skipped == ("too-many",) * 10


@pytest.mark.parametrize("document", [{}, {"keys": []}, {"keys": {}}, {"keys": None}])
def test_a_set_without_keys_is_an_error(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no keys"):
        usable_keys(document)


def test_a_key_without_use_alg_and_key_ops_is_good(kit: Kit) -> None:
    plain = kit.rsa.jwk(use=None, alg=None, kid="plain")
    found = usable_keys({"keys": [plain, kit.ec.jwk(key_ops=["verify"])]})
    assert set(found.keys) == {"plain", "ec"}
    token = kit.token(replace(kit.rsa, kid="plain"))
    assert kit.publish(plain=plain).verifier().verify(token).name == "alice"


@pytest.mark.parametrize("library", VERIFIERS)
def test_19_a_key_named_by_the_token_is_never_looked_for(kit: Kit, library: str) -> None:
    with pytest.raises(TokenRefused):
        kit.verifier(library).verify(kit.token(header={"jku": "https://evil.example.com/keys"}))
    assert kit.keys.asked == []


@pytest.mark.parametrize("library", VERIFIERS)
def test_31_a_token_of_another_issuer_costs_no_key(kit: Kit, library: str) -> None:
    with pytest.raises(TokenRefused):
        kit.verifier(library).verify(
            kit.token(iss="https://evil.example.com", header={"kid": "new"})
        )
    assert kit.keys.asked == []


class _Down:
    def key(self, kid: str) -> dict[str, object]:
        raise IssuerUnreachable("no keys")


class _Broken:
    def key(self, kid: str) -> dict[str, object]:
        raise RuntimeError("token eyJ and more")


class _Empty:
    def key(self, kid: str) -> dict[str, object]:
        raise UnknownKey


@pytest.mark.parametrize("library", VERIFIERS)
def test_56_without_keys_the_answer_is_unreachable_not_refused(kit: Kit, library: str) -> None:
    with pytest.raises(IssuerUnreachable):
        kit.verifier(library, keys=_Down()).verify(kit.token())


@pytest.mark.parametrize("library", VERIFIERS)
def test_60_a_key_that_was_taken_back_is_refused(kit: Kit, library: str) -> None:
    with pytest.raises(TokenRefused):
        kit.verifier(library, keys=_Empty()).verify(kit.token())


def test_65_what_breaks_unexpectedly_is_a_refusal_that_tells_nothing(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TokenRefused) as refused:
        kit.verifier(keys=_Broken()).verify(kit.token())
    assert refused.value.__context__ is None
    assert caplog.messages == ["token refused: unexpected RuntimeError"]
