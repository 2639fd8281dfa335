"""A second `TokenVerifier`, by another library, so that the table is known to fit any.

What needs no library (form, claims, keys) is imgctl's own; the signature is joserfc's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from imgctl_core.auth import compact
from imgctl_core.auth.claims import Claims, check_audience, check_times, read_claims
from imgctl_core.auth.keys import KeySource, check_key
from imgctl_core.auth.refusal import Refusal, WrongConnector, token_refused
from imgctl_core.auth.subject import parse_subject
from imgctl_core.errors import IssuerUnreachable
from imgctl_core.models import Actor

_NUMBERS = {"RS256": ("kty", "n", "e"), "ES256": ("kty", "crv", "x", "y")}


class JoserfcTokenVerifier:
    """Stands on joserfc; for its arguments see `JoseTokenVerifier`."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: KeySource,
        allowed_connectors: Collection[str],
        max_lifetime: int = 24 * 3600,
        leeway: int = 30,
        authorized_parties: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._connectors = tuple(allowed_connectors)
        self._max_lifetime = max_lifetime
        self._leeway = leeway
        self._parties = authorized_parties
        self._clock = clock

    def verify(self, token: str) -> Actor:
        try:
            claims = self._check(token)
        except IssuerUnreachable:
            raise
        except Exception:
            raise token_refused() from None
        subject = parse_subject(claims.subject)
        actor = Actor(claims.issuer, claims.subject, claims.name, claims.email, claims.groups)
        if subject is None or subject.connector not in self._connectors:
            raise WrongConnector("this server takes no logins by that connector", actor=actor)
        return actor

    def _check(self, token: str) -> Claims:
        parsed = compact.parse(token)
        claims = read_claims(parsed.claims)
        if claims.issuer != self._issuer:
            raise Refusal("iss")
        check_audience(claims, self._audience, self._parties)
        published = self._keys.key(parsed.key_id)
        check_key(published, parsed.algorithm)
        cls = RSAKey if parsed.algorithm == "RS256" else ECKey
        # joserfc checks certificates and the like, too; they say nothing here.
        needed: dict[str, str | list[str]] = {
            name: str(published[name]) for name in _NUMBERS[parsed.algorithm]
        }
        key = cls.import_key(needed)
        jwt.decode(token, key, algorithms=[parsed.algorithm])
        check_times(claims, self._clock(), leeway=self._leeway, max_lifetime=self._max_lifetime)
        return claims
