"""Names, tags, digests and ranges, as the specification spells them."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from imgctl_core.testing.registry.errors import RegistryError

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}
_CHUNK: Final = re.compile(r"([0-9]+)-([0-9]+)")
_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_LONGEST_NAME: Final = 255


def check_name(name: str) -> str:
    """Return a repository's name, or raise NAME_INVALID."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise RegistryError("NAME_INVALID", f"{name[:300]!r} is no name of a repository")
    return name


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def check_tag(text: str) -> str:
    """Return a tag, or raise TAG_INVALID."""
    if not is_tag(text):
        raise RegistryError("TAG_INVALID", f"{text[:200]!r} is no tag")
    return text


def check_digest(text: str) -> str:
    """Return a digest of an algorithm that we know, or raise DIGEST_INVALID."""
    algorithm, _, value = text.partition(":")
    length = _HEX_LENGTH.get(algorithm)
    if not _DIGEST.fullmatch(text) or length is None:
        raise RegistryError("DIGEST_INVALID", f"{text[:200]!r} is no digest that we know")
    if not re.fullmatch(f"[a-f0-9]{{{length}}}", value):
        raise RegistryError("DIGEST_INVALID", f"{text[:200]!r} is not {length} hex digits")
    return text


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def parse_chunk(text: str) -> tuple[int, int] | None:
    """Parse a chunk's Content-Range, `<first>-<last>` and nothing else."""
    found = _CHUNK.fullmatch(text)
    if found is None or int(found[2]) < int(found[1]):
        return None
    return int(found[1]), int(found[2])


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Return what part of `size` bytes is asked for, as offset and length.

    None for the whole: no range, one that is not of bytes, or more than one (RFC 9110
    lets a server ignore those).

    Raises:
        RegistryError: 416, nothing of it can be satisfied, or it ends before it begins.
    """
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        start = size - length
    else:
        start = int(found[1])
        last = min(int(found[2]), size - 1) if found[2] else size - 1
        length = last - start + 1
    if start >= size or length <= 0:
        raise RegistryError(
            "SIZE_INVALID",
            "the range is outside of the content",
            status=416,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, length
