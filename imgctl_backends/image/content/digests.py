"""Digests: the identity of bytes, written `<algorithm>:<hex>`."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

_PATTERN = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)


class Hasher(Protocol):
    """What of a hashlib object is used here."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def is_digest(text: object) -> bool:
    """Return whether this is a digest of an algorithm that we can check."""
    return isinstance(text, str) and _PATTERN.fullmatch(text) is not None


def hasher(digest: str) -> Hasher:
    """Return a new hash object of the digest's algorithm."""
    return hashlib.new(digest.partition(":")[0])


def sha256(data: bytes) -> str:
    """Return the SHA-256 digest of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def matches(digest: str, data: bytes) -> bool:
    """Return whether the bytes are those that the digest names."""
    check = hasher(digest)
    check.update(data)
    return digest.partition(":")[2] == check.hexdigest()
