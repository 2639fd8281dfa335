"""Reads S3's XML: lists, copy results and errors.

A body that is cut short, empty, or no S3 answer at all is never taken for success: S3
sends `200 OK` before it knows how a copy ends (API reference, CopyObject).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError, fromstring
from xml.sax.saxutils import escape

_LONGEST_TEXT: Final = 500


class Unreadable(Exception):
    """The body is not the XML that S3 sends. It may be cut short."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An `<Error>` body. `bucket` is the one that does not exist, where that is told."""

    code: str = ""
    message: str = ""
    condition: str = ""
    bucket: str = ""


class Row(NamedTuple):
    """One object of a list. `etag` is without quotes."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    rows: tuple[Row, ...]
    more: str


def _root(body: bytes) -> Element:
    if b"<!DOCTYPE" in body:
        raise Unreadable("the body has a document type, which S3 never sends")
    try:
        return fromstring(body)  # noqa: S314 - without a document type there are no entities
    except (ParseError, LookupError, ValueError) as error:
        raise Unreadable(f"the body is no complete XML: {error}") from error


def _expect(body: bytes, name: str) -> Element:
    root = _root(body)
    if _name(root) != name:
        raise Unreadable(f"the body is a <{_name(root)[:50]}>, not a {name}")
    return root


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _fields(element: Element) -> dict[str, str]:
    """Return the text of an element's children, by name; the first of a name counts."""
    return {_name(child): child.text or "" for child in reversed(element)}


def bare(etag: str) -> str:
    """Return an entity tag without quotes; not every server sends them."""
    return etag.strip().removeprefix("W/").strip('"')


@dataclass(frozen=True, slots=True)
class Made:
    """The object that a finished write made.

    `checksum` is `<algorithm>:<base64>`; it and `version_id` are "" when not told.
    """

    etag: str
    checksum: str = ""
    version_id: str = ""


def read_copied(body: bytes) -> Made:
    """Return what a finished copy made.

    Raises:
        Unreadable: the body does not say that the copy was made.
    """
    return _made(body, "CopyObjectResult")


def read_part(body: bytes) -> str:
    """Return the entity tag of a part that was copied.

    Raises:
        Unreadable: the body does not say that it was.
    """
    return _made(body, "CopyPartResult").etag


def read_completed(body: bytes) -> Made:
    """Return what a completed multipart upload made.

    Raises:
        Unreadable: the body does not say that it was completed.
    """
    return _made(body, "CompleteMultipartUploadResult")


def _made(body: bytes, name: str) -> Made:
    fields = _fields(_expect(body, name))
    etag = bare(fields.get("ETag", ""))
    if not etag:
        raise Unreadable(f"the {name} has no entity tag")
    checksums = (
        f"{field.removeprefix('Checksum').lower()}:{value}"
        for field, value in fields.items()
        if field.startswith("Checksum") and field != "ChecksumType"
    )
    return Made(etag, next(checksums, ""))


def read_upload(body: bytes) -> str:
    """Return the id of a new multipart upload.

    Raises:
        Unreadable: the body tells none.
    """
    upload_id = _fields(_expect(body, "InitiateMultipartUploadResult")).get("UploadId", "")
    if not upload_id:
        raise Unreadable("the new upload has no id")
    return upload_id


def written_parts(tags: Sequence[str]) -> bytes:
    """Return what completes an upload of parts with these entity tags."""
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(tag)}&quot;</ETag></Part>"
        for number, tag in enumerate(tags, 1)
    )
    return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()


def read_tags(body: bytes) -> list[tuple[str, str]]:
    """Return an object's tags.

    Raises:
        Unreadable: the body is no list of tags.
    """
    tags = map(_fields, _expect(body, "Tagging").iterfind("{*}TagSet/{*}Tag"))
    return [(tag.get("Key", ""), tag.get("Value", "")) for tag in tags]


def read_refusal(body: bytes) -> Refusal:
    """Return what an error's body says; an empty one when it says nothing."""
    try:
        fields = _fields(_expect(body, "Error"))
    except Unreadable:
        return Refusal()
    return Refusal(
        code=plain(fields.get("Code", "")),
        message=plain(fields.get("Message", "")),
        condition=plain(fields.get("Condition", "")),
        bucket=plain(fields.get("BucketName", "")),
    )


def plain(text: str) -> str:
    """Return a server's text as one line that may be shown."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"


def read_page(body: bytes) -> Page:
    """Return one page of a ListObjectsV2 answer.

    Raises:
        Unreadable: the body is no such answer.
    """
    root = _expect(body, "ListBucketResult")
    space = root.tag.removesuffix("ListBucketResult")
    encoded = root.findtext(f"{space}EncodingType") == "url"
    try:
        rows = tuple(_row(found, space, encoded) for found in root.iterfind(f"{space}Contents"))
    except ValueError as error:
        raise Unreadable(f"the list has an entry that can't be read: {error}") from error
    more = ""
    if root.findtext(f"{space}IsTruncated", "").strip() == "true":
        more = root.findtext(f"{space}NextContinuationToken", "")
        if not more:
            raise Unreadable("the list says that there is more, and not how to get it")
    return Page(rows, more)


def _row(found: Element, space: str, encoded: bool) -> Row:
    key = found.findtext(f"{space}Key")
    if key is None:
        raise ValueError("it has no key")
    size = int(found.findtext(f"{space}Size", ""))
    return Row(_decoded(key, encoded), size, bare(found.findtext(f"{space}ETag", "")))


def _decoded(key: str, encoded: bool) -> str:
    return unquote_plus(key, errors="strict") if encoded else key
