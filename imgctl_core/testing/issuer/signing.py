"""The issuer's signing keys, and tokens of every kind, good and bad."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


@dataclass(frozen=True)
class SigningKey:
    """An RSA key with its id: 40 hex digits, as Dex's are."""

    private: rsa.RSAPrivateKey = field(repr=False)
    kid: str

    @classmethod
    def generate(cls, bits: int = 2048) -> SigningKey:
        return cls(rsa.generate_private_key(65537, bits), secrets.token_hex(20))

    def jwk(self) -> dict[str, str]:
        """Return the public half, as the issuer publishes it."""
        numbers = self.private.public_key().public_numbers()
        return {
            "use": "sig",
            "kty": "RSA",
            "kid": self.kid,
            "alg": "RS256",
            "n": _number(numbers.n),
            "e": _number(numbers.e),
        }

    def sign(
        self,
        claims: Mapping[str, object] | bytes,
        headers: Mapping[str, object] | bytes | None = None,
    ) -> str:
        """Return a JWT. Bytes, of claims or header, are signed as they are."""
        header = {"alg": "RS256", "kid": self.kid} if headers is None else headers
        signed = b".".join(_segment(part) for part in (header, claims))
        signature = self.private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + encode(signature)).decode()


class KeyRing:
    """The key in use, and earlier ones that are still published. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: list[SigningKey] = []

    @property
    def current(self) -> SigningKey:
        with self._lock:
            if not self._keys:
                self._keys.append(SigningKey.generate())
            return self._keys[0]

    def rotate(self, *, keep_old: bool) -> SigningKey:
        """Sign with a new key from now on."""
        new = SigningKey.generate()
        with self._lock:
            self._keys = [new, *(self._keys if keep_old else ())]
        return new

    def published(self) -> list[dict[str, str]]:
        first = self.current
        with self._lock:
            return [key.jwk() for key in self._keys] or [first.jwk()]


#: Given as a claim's value to `Issuer.token`, it leaves that claim out.
ABSENT: Final = object()


def encode(data: bytes) -> bytes:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def encode_subject(user_id: str, connector_id: str) -> str:
    """Return a Dex `sub`: base64url of a protobuf with both, as fields 1 and 2."""
    packed = b""
    for tag, text in ((0x0A, user_id), (0x12, connector_id)):
        data = text.encode()
        packed += bytes([tag]) + _varint(len(data)) + data
    return encode(packed).decode()


def _varint(value: int) -> bytes:
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _segment(part: Mapping[str, object] | bytes) -> bytes:
    if isinstance(part, bytes):
        return encode(part)
    return encode(json.dumps(part, separators=(",", ":")).encode())


def _number(value: int) -> str:
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode()
