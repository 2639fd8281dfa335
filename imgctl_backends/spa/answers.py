"""Reads S3's XML: lists, copy results and errors.

A body that is cut short, empty, or no S3 answer at all is never taken for success: S3
sends `200 OK` before it knows how a copy ends (API reference, CopyObject).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote_plus
from xml.parsers import expat
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


class _Reader:
    """Collects the text of elements: of those below the root, and of rows.

    `row` is the path of rows below the root.
    """

    def __init__(self, *row: str) -> None:
        self.root = ""
        self.fields: dict[str, str] = {}
        self.rows: list[dict[str, str]] = []
        self._row = list(row)
        self._path: list[str] = []
        self._text: list[str] = []

    def read(self, body: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(body, True)
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise Unreadable(f"the body is no complete XML: {error}") from error

    def _doctype(self, *_: object) -> None:
        raise Unreadable("the body has a document type, which S3 never sends")

    def _start(self, name: str, _: object) -> None:
        name = name.rpartition(" ")[2]
        if not self._path:
            self.root = name
        self._path.append(name)
        if self._row and self._path[1:] == self._row:
            self.rows.append({})
        self._text.clear()

    def _end(self, _: str) -> None:
        name = self._path.pop()
        if len(self._path) == 1:
            self.fields.setdefault(name, "".join(self._text))
        elif self._row and self._path[1:] == self._row:
            self.rows[-1][name] = "".join(self._text)
        self._text.clear()


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


def _made(body: bytes, root: str) -> Made:
    reader = _Reader()
    reader.read(body)
    etag = bare(reader.fields.get("ETag", ""))
    if reader.root != root or not etag:
        raise Unreadable(f"the body is a <{reader.root[:50]}>, not a {root}")
    checksums = (
        f"{name.removeprefix('Checksum').lower()}:{value}"
        for name, value in reader.fields.items()
        if name.startswith("Checksum") and name != "ChecksumType"
    )
    return Made(etag, next(checksums, ""))


def read_upload(body: bytes) -> str:
    """Return the id of a new multipart upload.

    Raises:
        Unreadable: the body tells none.
    """
    reader = _Reader()
    reader.read(body)
    if reader.root != "InitiateMultipartUploadResult" or not reader.fields.get("UploadId"):
        raise Unreadable(f"the body is a <{reader.root[:50]}>, not a new upload")
    return reader.fields["UploadId"]


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
    reader = _Reader("TagSet", "Tag")
    reader.read(body)
    if reader.root != "Tagging":
        raise Unreadable(f"the body is a <{reader.root[:50]}>, not an object's tags")
    return [(row.get("Key", ""), row.get("Value", "")) for row in reader.rows]


def read_refusal(body: bytes) -> Refusal:
    """Return what an error's body says; an empty one when it says nothing."""
    reader = _Reader()
    try:
        reader.read(body)
    except Unreadable:
        return Refusal()
    if reader.root != "Error":
        return Refusal()
    return Refusal(
        code=plain(reader.fields.get("Code", "")),
        message=plain(reader.fields.get("Message", "")),
        condition=plain(reader.fields.get("Condition", "")),
        bucket=plain(reader.fields.get("BucketName", "")),
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
    reader = _Reader("Contents")
    reader.read(body)
    if reader.root != "ListBucketResult":
        raise Unreadable(f"the body is a <{reader.root[:50]}>, not a list of objects")
    encoded = reader.fields.get("EncodingType") == "url"
    try:
        rows = tuple(
            Row(_decoded(row["Key"], encoded), int(row["Size"]), bare(row.get("ETag", "")))
            for row in reader.rows
        )
    except (KeyError, ValueError) as error:
        raise Unreadable(f"the list has an entry that can't be read: {error}") from error
    more = ""
    if reader.fields.get("IsTruncated", "").strip() == "true":
        more = reader.fields.get("NextContinuationToken", "")
        if not more:
            raise Unreadable("the list says that there is more, and not how to get it")
    return Page(rows, more)


def _decoded(key: str, encoded: bool) -> str:
    return unquote_plus(key, errors="strict") if encoded else key
