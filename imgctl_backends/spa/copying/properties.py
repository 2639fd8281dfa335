"""What belongs to an object beside its bytes, and must arrive with them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zlib import crc32

from botocore.exceptions import ClientError

from imgctl_backends.spa.wire.answers import Made, bare

_CARRIED: Final = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
)
#: The same as headers; `Expires` goes as it is, be it a date or not.
_CARRIED_HEADERS: Final = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)
_PAST: Final = datetime(1970, 1, 1, tzinfo=UTC)


def carried(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties in a HeadObject or GetObject answer, as arguments to write.

    The same ones that CopyObject keeps; tags are a call of their own.
    """
    properties = {name: answer[name] for name in _CARRIED if answer.get(name)}
    if answer.get("ExpiresString"):
        # What is no date means a time in the past (RFC 9111 section 5.3), `0` most of all.
        properties["Expires"] = answer.get("Expires") or _PAST
    if answer.get("Metadata"):
        properties["Metadata"] = dict(answer["Metadata"])
    return properties


def carried_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the same from an answer's headers, names in lower case, as headers to write."""
    return tuple(
        (name, value)
        for name, value in headers.items()
        if value and (name in _CARRIED_HEADERS or name.startswith("x-amz-meta-"))
    )


def made(answer: Mapping[str, Any]) -> Made:
    """Return what boto3's answer to a write says of the object that is there now."""
    checksums = (
        f"{name.removeprefix('Checksum').lower()}:{value}"
        for name, value in answer.items()
        if name.startswith("Checksum") and name != "ChecksumType"
    )
    return Made(bare(answer["ETag"]), next(checksums, ""), answer.get("VersionId", ""))


def if_match(etag: str) -> dict[str, Any]:
    """Return the boto3 argument that ties a read to one state of an object."""
    return {"IfMatch": f'"{etag}"'} if etag else {}


def write_guard(over: str) -> dict[str, Any]:
    """Return the boto3 argument that keeps a write from replacing what nobody saw.

    `over` is the entity tag of what may be replaced, "" for nothing.
    """
    return if_match(over) or {"IfNoneMatch": "*"}


def unsupported(error: ClientError) -> bool:
    """Return whether a server says that it does not know what it was asked to do."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 501 or error.response.get("Error", {}).get("Code") == "NotImplemented"


def crc32_argument(content: bytes) -> dict[str, Any]:
    """Return the checksum that boto3 would send behind the body.

    Given beforehand it goes into a header: for one behind the body boto3 sends the body
    in `aws-chunked` encoding, which versitygw 1.8 keeps as the object's own.
    """
    return {"ChecksumCRC32": b64encode(crc32(content).to_bytes(4, "big")).decode("ascii")}
