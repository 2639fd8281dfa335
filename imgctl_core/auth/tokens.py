"""Token verification: from a bearer token to an actor, or one refusal for all.

The order matters. Everything that needs no key is checked first, so that rubbish costs
no signature check and a token of another issuer no fetch of keys. python-jose then gets
one key, one algorithm and claims whose types are known to be sound.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Protocol

from jose import jwk, jwt
from jose.exceptions import JOSEError

from imgctl_core.auth import compact
from imgctl_core.auth.claims import Claims, check_audience, check_times, read_claims
from imgctl_core.auth.keys import BadKey, KeySource, UnknownKey, check_key
from imgctl_core.auth.refusal import Refusal, WrongConnector, token_refused
from imgctl_core.auth.subject import parse_subject
from imgctl_core.errors import IssuerUnreachable
from imgctl_core.models import Actor
from imgctl_core.wirelimits import LEEWAY, MAX_TOKEN_LIFETIME

_LOG = logging.getLogger("imgctl.auth")

#: In `allowed_connectors`: take a subject of any form.
ANY_CONNECTOR = "*"


class TokenVerifier(Protocol):
    """Says who a bearer token is about. Safe to use from any thread."""

    def verify(self, token: str) -> Actor:
        """Return the actor, without `matched_group`.

        Raises:
            TokenRefused: the token is no good; the text never says why.
            WrongConnector: the token is good, and not by a connector that counts here.
            IssuerUnreachable: it can't be checked, since the issuer's keys are not known.
        """


class JoseTokenVerifier:
    """The verifier that stands on python-jose."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: KeySource,
        allowed_connectors: Collection[str],
        max_lifetime: int = MAX_TOKEN_LIFETIME,
        leeway: int = LEEWAY,
        authorized_parties: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what a token must show.

        Args:
            issuer: what `iss` must be, to the letter.
            audience: what must be in `aud`.
            keys: the issuer's public keys.
            allowed_connectors: Dex's connectors that count; `*` for a subject of any form.
            max_lifetime: longest time between `iat` and `exp`, in seconds.
            leeway: how far the issuer's clock and ours may differ, in seconds.
            authorized_parties: what `azp` may be; empty for anything.
            clock: seconds since 1970.

        Raises:
            ValueError: the issuer, the audience or the connectors are empty: every token
                would be refused, or worse, none.
        """
        if not issuer or not audience:
            raise ValueError("the issuer and the audience must be given")
        if isinstance(allowed_connectors, str) or not all(allowed_connectors):
            raise ValueError("the allowed connectors must be a list of names")
        if not allowed_connectors:
            raise ValueError("no connector is allowed, so nobody could come in")
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._connectors = tuple(allowed_connectors)
        self._max_lifetime = max_lifetime
        self._leeway = leeway
        self._parties = frozenset(authorized_parties)
        self._clock = clock

    def verify(self, token: str) -> Actor:
        """Return the actor; see `TokenVerifier.verify`."""
        try:
            claims = self._check(token)
        except Refusal as refusal:
            code = refusal.code
            _LOG.info("token refused: %s", code)
        except IssuerUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an odd token breaks is no way in
            code = "unexpected"
            _LOG.warning("token refused: unexpected %s", type(error).__name__)
        else:
            return self._actor(token, claims)
        # Raised out here, so that what went wrong does not hang on it as its context.
        raise token_refused(code)

    def _check(self, token: str) -> Claims:
        parsed = compact.parse(token)
        claims = read_claims(parsed.claims)
        if claims.issuer != self._issuer:
            raise Refusal("claims.iss")
        check_audience(claims, self._audience, self._parties)
        self._check_signature(token, parsed.algorithm, parsed.key_id)
        check_times(claims, self._clock(), leeway=self._leeway, max_lifetime=self._max_lifetime)
        return claims

    def _check_signature(self, token: str, algorithm: str, key_id: str) -> None:
        try:
            published = self._keys.key(key_id)
            check_key(published, algorithm)
        except UnknownKey:
            raise Refusal("key.unknown") from None
        except BadKey as bad:
            raise Refusal(f"key.{bad.code}") from None
        try:
            jwt.decode(
                token,
                jwk.construct(dict(published), algorithm),
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                options={
                    **{f"require_{name}": True for name in ("iss", "aud", "exp", "iat", "sub")},
                    # Dex's access tokens are its ID tokens with this claim added, and there
                    # is no second token here to compare it with.
                    "verify_at_hash": False,
                    "leeway": self._leeway,
                },
            )
        except JOSEError as error:
            raise Refusal(f"signature.{type(error).__name__}") from None

    def _actor(self, token: str, claims: Claims) -> Actor:
        subject = parse_subject(claims.subject)
        fingerprint = _fingerprint(token)
        actor = Actor(
            issuer=claims.issuer,
            subject=claims.subject,
            name=claims.name,
            email=claims.email,
            groups=claims.groups,
            connector=subject.connector if subject else "",
            token_id=claims.token_id or fingerprint,
            token_sha256=fingerprint,
            issued_at=datetime.fromtimestamp(claims.issued, UTC),
            expires_at=datetime.fromtimestamp(claims.expires, UTC),
        )
        if ANY_CONNECTOR not in self._connectors and actor.connector not in self._connectors:
            _LOG.info("token refused: connector")
            raise _wrong_connector(actor, self._connectors)
        return actor


def _fingerprint(token: str) -> str:
    """Return a short name of what is signed in a token.

    Not of the signature: each of ES256 has a twin that is as good, and who has a token
    could give it another name.
    """
    signed, _, _ = token.rpartition(".")
    return hashlib.sha256(signed.encode("ascii")).hexdigest()[:16]


def _wrong_connector(actor: Actor, allowed: tuple[str, ...]) -> WrongConnector:
    names = ", ".join(allowed)
    if actor.connector:
        reason = f"this server takes no logins by Dex's connector {actor.connector!r}"
    else:
        reason = "the token does not say which of Dex's connectors it comes from"
    fix = f"log in by a connector that it takes: {names}"
    return WrongConnector(reason, fix=fix, actor=actor)
