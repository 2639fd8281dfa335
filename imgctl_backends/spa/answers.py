"""Reads S3's XML: lists, copy results and errors.

A body that is cut short, empty, or no S3 answer at all is never taken for success: S3
sends `200 OK` before it knows how a copy ends (API reference, CopyObject).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError, fromstring

_LONGEST_TEXT: Final = 500


class Unreadable(Exception):
    """The body is not the XML that S3 sends. It may be cut short."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An `<Error>` body."""

    code: str = ""
    message: str = ""
    condition: str = ""


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


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _fields(element: Element) -> dict[str, str]:
    """Return the text of an element's children, by name."""
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
    root = _root(body)
    fields = _fields(root)
    etag = bare(fields.get("ETag", ""))
    if _name(root) != "CopyObjectResult" or not etag:
        raise Unreadable(f"the body is a <{_name(root)[:50]}>, not the result of a copy")
    checksums = (
        f"{name.removeprefix('Checksum').lower()}:{value}"
        for name, value in fields.items()
        if name.startswith("Checksum") and name != "ChecksumType"
    )
    return Made(etag, next(checksums, ""))


def read_refusal(body: bytes) -> Refusal:
    """Return what an error's body says; an empty one when it says nothing."""
    try:
        root = _root(body)
    except Unreadable:
        return Refusal()
    if _name(root) != "Error":
        return Refusal()
    fields = _fields(root)
    return Refusal(
        code=plain(fields.get("Code", "")),
        message=plain(fields.get("Message", "")),
        condition=plain(fields.get("Condition", "")),
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
    root = _root(body)
    if _name(root) != "ListBucketResult":
        raise Unreadable(f"the body is a <{_name(root)[:50]}>, not a list of objects")
    space = root.tag[: -len("ListBucketResult")]
    encoded = root.findtext(f"{space}EncodingType") == "url"
    try:
        rows = tuple(_row(found, space, encoded) for found in root.iterfind(f"{space}Contents"))
    except (TypeError, ValueError) as error:
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
    etag = found.findtext(f"{space}ETag", "")
    return Row(_decoded(key, encoded), size, bare(etag))


def _decoded(key: str, encoded: bool) -> str:
    return unquote_plus(key, errors="strict") if encoded else key
