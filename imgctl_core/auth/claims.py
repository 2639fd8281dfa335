"""What a token claims, checked: types, times, audience, and who it is about.

Types are checked before python-jose sees the token, since it lets foreign exceptions out
of odd ones (a list as `exp`), and takes a string as a time, a time of issue in the future
and a token without an end. Times are checked after it, against our own clock.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from imgctl_core.auth.refusal import Refusal

#: The claims that decide something. None of them may have a look-alike beside it.
_READ = frozenset(
    {"iss", "sub", "aud", "azp", "exp", "nbf", "iat", "jti", "events", "at_hash"}
    | {"groups", "name", "email", "email_verified", "preferred_username"}
)


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that we read, each of its one type. Times are seconds since 1970."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    authorized_party: str | None
    expires: float
    issued: float
    not_before: float | None
    token_id: str
    name: str
    email: str
    groups: tuple[str, ...]


def read_claims(raw: Mapping[str, object]) -> Claims:
    """Read the claims, each by its type.

    Raises:
        Refusal: one is missing, of another type, or looks like another one.
    """
    for name in raw:
        if name not in _READ and _folded(name) in _READ:
            raise Refusal("claims.twin")
    # Dex signs its logout notices with the same key, for the same audience and without a
    # typ; only this claim tells them from an ID token (OpenID Back-Channel Logout 2.4).
    if "events" in raw:
        raise Refusal("claims.events")
    return Claims(
        issuer=_text(raw, "iss"),
        subject=_text(raw, "sub"),
        audiences=_audiences(raw),
        authorized_party=_text(raw, "azp") if "azp" in raw else None,
        expires=_time(raw, "exp"),
        issued=_time(raw, "iat"),
        not_before=_time(raw, "nbf") if "nbf" in raw else None,
        token_id=_text(raw, "jti") if "jti" in raw else "",
        name=_optional_text(raw, "name") or _optional_text(raw, "preferred_username"),
        # An address that nobody verified must not be shown as who somebody is.
        email=_optional_text(raw, "email") if raw.get("email_verified", True) is True else "",
        groups=_groups(raw),
    )


def check_audience(claims: Claims, audience: str, authorized_parties: Collection[str]) -> None:
    """Check that the token is for us, and was given to a client that may have it.

    With several audiences OpenID Connect Core 3.1.3.7 wants `azp`, the client that the
    token was given to. An empty `authorized_parties` takes any client.

    Raises:
        Refusal: it is not.
    """
    if audience not in claims.audiences:
        raise Refusal("claims.aud")
    if len(claims.audiences) > 1 and claims.authorized_party is None:
        raise Refusal("claims.azp")
    if authorized_parties and claims.authorized_party not in authorized_parties:
        raise Refusal("claims.azp")


def check_times(claims: Claims, now: float, *, leeway: int, max_lifetime: int) -> None:
    """Check that the token is valid now, and was not made to last for ever. All in seconds.

    Raises:
        Refusal: it has expired, is not valid yet, or lives too long.
    """
    if now >= claims.expires + leeway:
        raise Refusal("times.expired")
    if claims.not_before is not None and claims.not_before > now + leeway:
        raise Refusal("times.not-before")
    if claims.issued > now + leeway or claims.issued > claims.expires:
        raise Refusal("times.issued")
    if claims.expires - claims.issued > max_lifetime + leeway:
        raise Refusal("times.lifetime")


def _folded(name: str) -> str:
    """Return what a careless reader takes `name` for: case, width and space ignored."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _text(raw: Mapping[str, object], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(f"claims.{name}")
    return value


def _optional_text(raw: Mapping[str, object], name: str) -> str:
    value = raw.get(name, "")
    if not isinstance(value, str):
        raise Refusal(f"claims.{name}")
    return value


def _time(raw: Mapping[str, object], name: str) -> float:
    value = raw.get(name)
    # bool is an int to Python. The bound keeps every later float exact.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise Refusal(f"claims.{name}")
    return value


def _audiences(raw: Mapping[str, object]) -> tuple[str, ...]:
    value = raw.get("aud")
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise Refusal("claims.aud")
    return tuple(found)


def _groups(raw: Mapping[str, object]) -> tuple[str, ...]:
    """Read `groups`, which Dex leaves out when there are none."""
    value = raw.get("groups")
    if value is None:
        return ()
    # A single string is never split: "a,promoters" would be a way into `promoters`.
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Refusal("claims.groups")
    return tuple(value)
