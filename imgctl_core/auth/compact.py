"""A signed token's outer form: three base64url segments (RFC 7515 section 7.1).

Decoders that skip what they don't know let one signature stand under many spellings of a
token, so a segment counts only in its one canonical spelling.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from imgctl_core.auth.refusal import Refusal
from imgctl_core.auth.strict_json import loads_object
from imgctl_core.wirelimits import MAX_TOKEN

#: Longest key id, in characters. Dex's have 40.
MAX_KEY_ID = 256
#: RS256 is Dex's default; ES256 its alternative.
ALGORITHMS = ("RS256", "ES256")

_SEGMENTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A token taken apart. Nothing in it is proved yet."""

    algorithm: str
    key_id: str
    claims: dict[str, object]


def parse(token: object) -> CompactToken:
    """Take a token apart, strictly.

    Raises:
        Refusal: it is too long, not of the form, or its header is not one that we take.
    """
    if not isinstance(token, str):
        raise Refusal("form.type")
    if len(token) > MAX_TOKEN:
        raise Refusal("form.length")
    match = _SEGMENTS.fullmatch(token)
    if match is None:
        raise Refusal("form.segments")
    try:
        header_data, payload, _ = (decode_base64url(segment) for segment in match.groups())
    except ValueError:
        raise Refusal("form.base64") from None
    try:
        header = loads_object(header_data)
    except ValueError:
        raise Refusal("header.json") from None
    algorithm, key_id = _check_header(header)
    try:
        claims = loads_object(payload)
    except ValueError:
        raise Refusal("claims.json") from None
    return CompactToken(algorithm, key_id, claims)


def _check_header(header: dict[str, object]) -> tuple[str, str]:
    # Any other member asks for something: another key (jwk, jku, x5u, x5c), an extension
    # (crit, b64), a compression (zip), another kind of token (cty). We do none of it.
    if not header.keys() <= {"alg", "kid", "typ"}:
        raise Refusal("header.member")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Refusal("header.alg")
    # RFC 9068 access tokens and other kinds say what they are; Dex's ID tokens say nothing.
    if header.get("typ", "JWT") != "JWT":
        raise Refusal("header.typ")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID:
        raise Refusal("header.kid")
    return algorithm, key_id


def decode_base64url(text: str) -> bytes:
    """Decode base64url without padding, as RFC 7515 section 2 has it.

    Raises:
        ValueError: it is not the one canonical spelling of some bytes.
    """
    if _BASE64URL.fullmatch(text) is None:
        raise ValueError("not base64url")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
    if urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != text:
        raise ValueError("not canonical")
    return data
