"""Checks SSH-signed JWTs exactly as strictly, and as laxly, as Dex's SSH connector does.

Which is: the header's `alg` is "SSH" and nothing else of it counts; `aud` is a string;
`nbf` has no leeway; `sub` is not compared with the key's owner; `exp` may be in a hundred
years; a token may come again and again. The third segment is base64url, unpadded, of
standard base64, padded, of the blob of the SSH signature without its format and length.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from imgctl_core.testing.issuer.users import Connector, User

_URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_CURVE_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class Refused(Exception):
    """The connector refuses the token. Why, it tells nobody but its own log."""


def check_ssh_token(token: str, users: Mapping[str, User], connector: Connector, now: float) -> str:
    """Return the name of the user whose key signed the token.

    Raises:
        Refused: the token is not good, or nobody's.
    """
    segments = token.split(".")
    if len(segments) != 3:
        raise Refused("it has not three segments")
    if _json(segments[0]).get("alg") != "SSH":
        raise Refused("its alg is not SSH")
    _check_claims(_json(segments[1]), connector, int(now))
    signed = f"{segments[0]}.{segments[1]}".encode()
    blob = _blob(segments[2])
    for name, user in users.items():
        if any(_signed_by(line, signed, blob) for line in user.keys):
            return name
    raise Refused("no user's key made its signature")


def _json(segment: str) -> Mapping[str, object]:
    try:
        parsed = json.loads(_from_url(segment))
    except (ValueError, RecursionError) as error:
        raise Refused("a segment is not JSON") from error
    if not isinstance(parsed, dict):
        raise Refused("a segment is no JSON object")
    return parsed


def _check_claims(claims: Mapping[str, object], connector: Connector, now: int) -> None:
    texts = {name: claims.get(name) for name in ("iss", "sub", "target_audience")}
    for name, value in texts.items():
        if not isinstance(value, str) or not value:
            raise Refused(f"its {name} is no string")
    if connector.allowed_issuers and texts["iss"] not in connector.allowed_issuers:
        raise Refused("its iss is not allowed")
    if connector.instance_id is not None and claims.get("aud") != connector.instance_id:
        raise Refused("its aud is another instance")
    allowed = connector.allowed_target_audiences
    if allowed and texts["target_audience"] not in allowed:
        raise Refused("its target_audience is not allowed")
    if now > _number(claims.get("exp")):
        raise Refused("it has expired")
    if "nbf" in claims and now < _number(claims["nbf"]):
        raise Refused("it is not good yet")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("a time is no number")
    return value


def _from_url(segment: str) -> bytes:
    if not _URL.fullmatch(segment) or len(segment) % 4 == 1:
        raise Refused("a segment is not unpadded base64url")
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _blob(segment: str) -> bytes:
    inner = _from_url(segment)
    try:
        # Line breaks are let pass, as Go's decoder does.
        return base64.b64decode(re.sub(rb"[\r\n]", b"", inner), validate=True)
    except binascii.Error as error:
        raise Refused("its signature is not base64 within base64") from error


def _signed_by(line: str, signed: bytes, blob: bytes) -> bool:
    words = line.split()
    try:
        key = load_ssh_public_key(" ".join(words[:2]).encode())
        _verify(key, signed, blob)
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _verify(key: object, signed: bytes, blob: bytes) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(blob, signed)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        first, rest = _mpint(blob)
        second, rest = _mpint(rest)
        if rest:
            raise InvalidSignature
        signature = encode_dss_signature(first, second)
        key.verify(signature, signed, ec.ECDSA(_CURVE_HASHES[key.curve.name]))
    elif isinstance(key, rsa.RSAPublicKey):
        # The connector calls the format "ssh-rsa", and that means SHA-1.
        padded = blob.rjust(key.key_size // 8, b"\0")
        key.verify(padded, signed, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    else:
        raise InvalidSignature


def _mpint(data: bytes) -> tuple[int, bytes]:
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length or length == 0:
        raise InvalidSignature
    value = int.from_bytes(data[4 : 4 + length], "big", signed=True)
    if value <= 0:
        raise InvalidSignature
    return value, data[4 + length :]
