"""What a login needs, and what it gives."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

AUDIENCE_MODES = ("audience", "cross-client", "client-id")
_COMPACT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}", re.ASCII)


@dataclass(frozen=True)
class LoginSettings:
    """Who logs in, where, and for which server.

    `audience_mode` says how the audience is asked of Dex: `audience` sends it as the
    parameter that Dex with the SSH connector understands; `cross-client` asks for it by
    the scope that stock Dex understands (`audience` is then a Dex client id that trusts
    this one); `client-id` takes what Dex gives unasked, the client id itself.

    `pubkey_file` None means ~/.ssh/id_ed25519.pub when it exists, else the agent's keys,
    and without one there ~/.ssh/id_ecdsa.pub and ~/.ssh/id_rsa.pub.
    An empty `username` is the name of the user at this machine. `ca_file` is trusted
    beside the system's certificates. `cache_dir` None means $XDG_CACHE_HOME/imgctl.
    Dex's connector takes RSA signatures with SHA-1 only: `allow_rsa_sha1` False leaves
    RSA keys out.
    """

    dex_url: str
    client_id: str
    client_secret: str = field(repr=False)
    audience: str
    audience_mode: str = "audience"
    connector_id: str = "ssh"
    pubkey_file: Path | None = None
    username: str = ""
    ca_file: Path | None = None
    cache_dir: Path | None = None
    allow_rsa_sha1: bool = True

    @property
    def wanted_audience(self) -> str:
        """The `aud` that the token must hold."""
        return self.client_id if self.audience_mode == "client-id" else self.audience


@dataclass(frozen=True)
class Token:
    """An OIDC token. `claims` are unverified: for explanations, never for decisions.

    `expires_at` is in seconds since 1970.
    """

    value: str = field(repr=False)
    expires_at: float
    claims: Mapping[str, object]

    @property
    def expires(self) -> datetime:
        """The same moment, in UTC; the last one that can be written when it is later."""
        try:
            return datetime.fromtimestamp(self.expires_at, UTC)
        except (ValueError, OverflowError, OSError):
            return datetime.max.replace(tzinfo=UTC)

    @property
    def audiences(self) -> tuple[str, ...]:
        """The `aud` claim, which is a string or a list of them."""
        aud = self.claims.get("aud")
        values = aud if isinstance(aud, list) else [aud]
        return tuple(value for value in values if isinstance(value, str))

    @property
    def groups(self) -> tuple[str, ...]:
        """The `groups` claim, which Dex leaves out when there is none."""
        groups = self.claims.get("groups")
        values = groups if isinstance(groups, list) else []
        return tuple(value for value in values if isinstance(value, str))

    def text(self, name: str) -> str:
        """Return a claim that is a text, an empty one for anything else."""
        value = self.claims.get(name)
        return value if isinstance(value, str) else ""


def read_token(value: str) -> Token:
    """Read what a token says of itself, without checking its signature.

    Raises:
        ValueError: it is no signed JWT with an expiry time.
    """
    import json

    # It is sent, and shown when that is asked for: nothing but base64url may be in it.
    if not _COMPACT.fullmatch(value):
        raise ValueError("it has not the three parts of a signed token")
    payload = value.split(".")[1]
    try:
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        raise ValueError("its claims can't be read") from None
    if not isinstance(claims, dict):
        raise ValueError("its claims are no object")
    expires_at = number(claims.get("exp"))
    if expires_at is None:
        raise ValueError("it has no expiry time")
    return Token(value, expires_at, claims)


def number(value: object) -> float | None:
    """Return a claim that is a time, None for anything else (also for true and 1e999)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer of a thousand digits doesn't fit a float; infinity and NaN compare false.
    return float(value) if -1e15 < value < 1e15 else None
