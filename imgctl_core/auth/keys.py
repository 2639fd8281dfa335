"""Which of an issuer's keys may check a signature.

python-jose takes a key as it comes: for encryption only, 1024 bits, exponent 1, private,
of a curve that its algorithm does not mean. Each key of a set (RFC 7517, RFC 7518 section
6) is checked here instead, one by one: a key that is no good is left out and named by a
code, and never spoils the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from jose import jwk as jose_jwk

from imgctl_core.auth.compact import MAX_KEY_ID, decode_base64url

#: Most keys of one set that are kept. Dex has two or three.
MAX_KEYS = 50

#: A public key as the issuer publishes it (RFC 7517).
Jwk = Mapping[str, object]

_KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA_BITS = range(2048, 8193)
_MIN_RSA_EXPONENT = 65537
#: P-256's coordinates are this long; ES256 (RFC 7518 section 3.4) is that curve alone.
_P256_BYTES = 32


class UnknownKey(LookupError):
    """The issuer publishes no usable key of that id."""


class BadKey(ValueError):
    """A key may not be used. `code` says why and holds nothing of the key."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class KeySource(Protocol):
    """Where the issuer's public keys come from."""

    def key(self, kid: str) -> Jwk:
        """Return the key of that id.

        Raises:
            UnknownKey: there is none.
            IssuerUnreachable: the keys are not known, or too old to be trusted.
        """


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's usable keys by their id, and why others were left out."""

    keys: Mapping[str, Jwk]
    skipped: tuple[str, ...] = ()


def usable_keys(document: Mapping[str, object]) -> KeySet:
    """Pick the usable keys out of a JWK set. Of two with one id the first counts.

    Raises:
        ValueError: it is no JWK set, or an empty one.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or not entries:
        raise ValueError("it has no keys")
    found: dict[str, Jwk] = {}
    skipped = []
    for entry in entries:
        try:
            kid = _check(entry)
            if kid in found:
                raise BadKey("kid.twice")
            if len(found) == MAX_KEYS:
                raise BadKey("too-many")
        except BadKey as bad:
            skipped.append(bad.code)
        else:
            found[kid] = MappingProxyType(dict(entry))
    return KeySet(MappingProxyType(found), tuple(skipped))


def check_key(jwk: Jwk, algorithm: str) -> None:
    """Check that a key may verify signatures made by `algorithm`.

    Raises:
        BadKey: it may not.
    """
    if jwk.get("kty") != _KEY_TYPES[algorithm]:
        raise BadKey("kty")
    if jwk.get("alg", algorithm) != algorithm:
        raise BadKey("alg")
    _check_purpose(jwk)
    if algorithm == "RS256":
        _check_rsa(jwk)
    else:
        _check_ec(jwk)


def _check(entry: object) -> str:
    if not isinstance(entry, dict):
        raise BadKey("type")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KEY_ID:
        raise BadKey("kid")
    for algorithm, key_type in _KEY_TYPES.items():
        if entry.get("kty") == key_type:
            check_key(entry, algorithm)
            _check_mathematics(entry, algorithm)
            return kid
    raise BadKey("kty")


def _check_mathematics(entry: dict[str, object], algorithm: str) -> None:
    """Find out whether the numbers are a key: a point may lie beside its curve."""
    try:
        jose_jwk.construct(entry, algorithm)
    except Exception:  # noqa: BLE001 - it lets the exceptions of three libraries out
        raise BadKey("numbers") from None


def _check_purpose(jwk: Jwk) -> None:
    if not _PRIVATE.isdisjoint(jwk):
        raise BadKey("private")
    if jwk.get("use", "sig") != "sig":
        raise BadKey("use")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise BadKey("key_ops")


def _check_rsa(jwk: Jwk) -> None:
    modulus, exponent = _number(jwk, "n"), _number(jwk, "e")
    if modulus.bit_length() not in _RSA_BITS:
        raise BadKey("rsa.size")
    # An even modulus is a factored one, and the library below us takes it.
    if not modulus & 1:
        raise BadKey("n")
    if exponent < _MIN_RSA_EXPONENT:
        raise BadKey("rsa.exponent")


def _check_ec(jwk: Jwk) -> None:
    if jwk.get("crv") != "P-256":
        raise BadKey("crv")
    if any(len(_bytes(jwk, member)) != _P256_BYTES for member in ("x", "y")):
        raise BadKey("ec.point")


def _number(jwk: Jwk, member: str) -> int:
    return int.from_bytes(_bytes(jwk, member), "big")


def _bytes(jwk: Jwk, member: str) -> bytes:
    value = jwk.get(member)
    if not isinstance(value, str):
        raise BadKey(member)
    try:
        return decode_base64url(value)
    except ValueError:
        raise BadKey(member) from None
