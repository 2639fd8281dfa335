"""What an object's entity tag and checksums say about its content.

An ETag is the MD5 of the content for plain uploads, a hash over part hashes with `-<n>`
behind it for multipart ones, and something else again under SSE-KMS (API reference,
Object). So equal ones prove equal content, and different ones prove nothing. Size and
time prove nothing either way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_CONTENT_TAG: Final = re.compile(r"[0-9a-f]{32}(-[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_CHECKSUM: Final = "x-amz-checksum-"


def speaks_of_content(etag: str) -> bool:
    """Return whether this looks like a hash; some servers send what names a write."""
    return _CONTENT_TAG.fullmatch(etag) is not None


def is_md5(etag: str, headers: Mapping[str, str]) -> bool:
    """Return whether an object's entity tag must be the MD5 of its content.

    It is under no or S3's own encryption, for objects that came in one piece. Those with
    a checksum of their own need no second opinion.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if "-" in etag or not speaks_of_content(etag) or whole_checksums(lower):
        return False
    if "x-amz-server-side-encryption-customer-algorithm" in lower:
        return False
    return lower.get("x-amz-server-side-encryption", "AES256") == "AES256"


def same_tag(one: str, other: str) -> bool:
    """Return whether two entity tags prove that two contents are the same."""
    return speaks_of_content(one) and one.lower() == other.lower()


def whole_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the checksums over the whole object in an answer's headers, by algorithm.

    COMPOSITE ones depend on how an upload was cut into parts. Where a server does not
    say which type it means, those of multipart objects are left out.
    """
    kind = headers.get("x-amz-checksum-type", "").upper()
    if kind == "COMPOSITE" or (not kind and "-" in headers.get("etag", "-")):
        return {}
    return {
        name.removeprefix(_CHECKSUM): value
        for name, value in headers.items()
        if name.startswith(_CHECKSUM) and name != _CHECKSUM + "type" and "-" not in value
    }


def compare_checksums(one: Mapping[str, str], other: Mapping[str, str]) -> bool | None:
    """Return whether checksums of one algorithm agree; None when there are no two such."""
    common = one.keys() & other.keys()
    if not common:
        return None
    return all(one[name] == other[name] for name in common)
