"""Tokens and keys for the tests of this folder, made without the library under test.

python-jose verifies; joserfc makes the keys, the sets and the signatures here, so that a
mistake of the one can't hide in the other.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

from imgctl_core.auth.keys import Jwk, UnknownKey
from imgctl_core.auth.tokens import JoseTokenVerifier, TokenVerifier
from tests.core.auth.joserfc_verifier import JoserfcTokenVerifier

ISSUER = "https://dex.example.com/dex"
AUDIENCE = "https://imgctl.example.com"
#: Dex's subject of user `alice` at connector `ssh`.
ALICE = "CgVhbGljZRIDc3No"


#: What the table runs against: every implementation of `TokenVerifier` there is. One that
#: is named `module:name` by IMGCTL_TEST_VERIFIER joins them; it is called with the
#: arguments of `JoseTokenVerifier`, all by name.
VERIFIERS: dict[str, Callable[..., TokenVerifier]] = {
    "python-jose": JoseTokenVerifier,
    "joserfc": JoserfcTokenVerifier,
}
if _named := os.environ.get("IMGCTL_TEST_VERIFIER"):
    VERIFIERS[_named] = pkgutil.resolve_name(_named)


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode("ascii")


@dataclass(frozen=True)
class Signer:
    """A key pair of an issuer."""

    kid: str
    key: RSAKey | ECKey

    @property
    def algorithm(self) -> str:
        return "RS256" if isinstance(self.key, RSAKey) else "ES256"

    def sign(self, data: bytes, algorithm: str = "") -> bytes:
        return JWSRegistry.algorithms[algorithm or self.algorithm].sign(data, self.key)

    def jwk(self, **changes: object) -> dict[str, object]:
        """Return the public key as Dex publishes it. None takes a member away."""
        published = dict(self.key.as_dict(private=False))
        dex = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        return without_none(published | dex | changes)

    def public(self, encoding: serialization.Encoding) -> bytes:
        return self.key.public_key.public_bytes(
            encoding, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def without_none(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


@dataclass
class Clock:
    """A clock that stands still until told. python-jose looks at the real one too."""

    now: float

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class StaticKeys:
    """A `KeySource` that hands out what it was given, unchecked, and counts."""

    keys: dict[str, Jwk]
    asked: list[str] = field(default_factory=list)

    def key(self, kid: str) -> Jwk:
        self.asked.append(kid)
        if kid not in self.keys:
            raise UnknownKey
        return self.keys[kid]


@dataclass(frozen=True)
class Kit:
    """Everything to make tokens, and a verifier to show them to."""

    rsa: Signer
    other: Signer
    ec: Signer
    p384: Signer
    weak: Signer
    clock: Clock
    keys: StaticKeys

    issuer = ISSUER
    audience = AUDIENCE
    alice = ALICE

    def verifier(self, library: str = "python-jose", **changes: Any) -> TokenVerifier:
        settings: dict[str, Any] = {
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "keys": self.keys,
            "allowed_connectors": ("ssh",),
            "max_lifetime": 24 * 3600,
            "clock": self.clock,
        }
        return VERIFIERS[library](**(settings | changes))

    def claims(self, **changes: object) -> dict[str, object]:
        """Return what Dex says of alice, changed. None takes a claim away."""
        now = int(self.clock.now)
        return without_none(
            {
                "iss": ISSUER,
                "sub": ALICE,
                "aud": AUDIENCE,
                "exp": now + 3600,
                "iat": now - 5,
                "email": "alice@example.com",
                "email_verified": True,
                "name": "alice",
                "groups": ["promoters", "everyone"],
            }
            | changes
        )

    def token(
        self,
        signer: Signer | None = None,
        header: Mapping[str, object] | None = None,
        **claims: object,
    ) -> str:
        """Return a signed token. `header` changes its header; None there takes away."""
        return self.signed(self.claims(**claims), signer, header)

    def signed(
        self,
        claims: object,
        signer: Signer | None = None,
        header: Mapping[str, object] | None = None,
    ) -> str:
        signer = signer or self.rsa
        members = without_none({"alg": signer.algorithm, "kid": signer.kid} | dict(header or {}))
        return self.raw(json.dumps(members).encode(), json.dumps(claims).encode(), signer)

    def by_the_book(self, signer: Signer | None = None, **claims: object) -> str:
        """Return a token that joserfc made as a whole, its own spelling of JSON included."""
        signer = signer or self.rsa
        header = {"alg": signer.algorithm, "kid": signer.kid}
        return jwt.encode(header, self.claims(**claims), signer.key, algorithms=["RS256", "ES256"])

    def raw(self, header: bytes, payload: bytes, signer: Signer | None = None) -> str:
        """Return the token of these very bytes."""
        signed = f"{b64(header)}.{b64(payload)}"
        return f"{signed}.{b64((signer or self.rsa).sign(signed.encode()))}"

    def raw_claims(self, payload: bytes) -> str:
        return self.raw(json.dumps({"alg": "RS256", "kid": self.rsa.kid}).encode(), payload)

    def claims_with(self, extra: str) -> str:
        """Return a token whose payload ends in `extra`, JSON text that may break the rules."""
        return self.raw_claims((json.dumps(self.claims())[:-1] + extra + "}").encode())

    def hmac(self, secret: bytes) -> str:
        """Return a token signed by HS256 with `secret`, with the RSA key's id."""
        header = json.dumps({"alg": "HS256", "kid": self.rsa.kid}).encode()
        signed = f"{b64(header)}.{b64(json.dumps(self.claims()).encode())}"
        # joserfc takes no public key for a secret.
        return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    def publish(self, **keys: Jwk) -> Kit:
        """Return a kit whose key source has these keys too, unchecked."""
        return replace(self, keys=StaticKeys({**self.keys.keys, **keys}))
