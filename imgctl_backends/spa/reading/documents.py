"""Fetches pages and web manifests, and reads what they make a browser fetch."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading.pages import (
    LARGEST,
    Document,
    TooLarge,
    is_web_manifest,
    read_page,
    read_web_manifest,
)
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.dispatch import Call, Dispatcher
from imgctl_backends.spa.wire.fastlane import Answer, Request
from imgctl_backends.spa.wire.faults import changed
from imgctl_backends.spa.wire.judge import check
from imgctl_backends.spa.wire.pace import Pace, Patience
from imgctl_core import Context

#: So many contents are in memory at once, at most.
_AT_ONCE: Final = 8
_PER_SECOND: Final = 5000
_GZIP: Final = b"\x1f\x8b"
# versitygw keeps the encoding that checksums behind a body come in.
_NONE: Final = frozenset({"", "identity", "aws-chunked"})


class Trouble(Enum):
    """Why a file could not be read; the value follows its name in a sentence."""

    TOO_LARGE = f"is larger than {LARGEST // 1024**2} MiB"
    UNKNOWN_ENCODING = "has a content-encoding other than gzip"
    NOT_GZIP = "is not compressed by gzip, as its content-encoding says"
    CUT_SHORT = "is compressed by gzip, and ends too early"
    UNTOLD_GZIP = "is compressed by gzip, which its content-encoding does not say"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file as it was answered. Names of headers are in lower case."""

    key: str
    headers: Mapping[str, str]
    document: Document | Trouble


def fetch(
    bucket: Bucket, files: Iterable[File], context: Context, patience: Patience
) -> Iterator[Fetched]:
    """Yield each file as it comes. Those that are listed as too large must not be among them.

    Raises:
        EndpointFailed, Conflict: one is not what was listed any more.
    """
    pace = Pace(_AT_ONCE, _PER_SECOND)
    dispatcher = Dispatcher[Fetched](bucket, context, patience, pace)
    for _, fetched in dispatcher.run(_get(bucket, file) for file in files):
        yield fetched


def _get(bucket: Bucket, file: File) -> Call[Fetched]:
    condition = (("If-Match", f'"{file.etag}"'),) if file.etag else ()
    headers = (*condition, *bucket.guard_headers())
    request = Request("GetObject", "GET", bucket.path(file.key), headers)

    def read(answer: Answer) -> Fetched:
        if answer.status in (404, 412):
            raise changed(bucket.place, file.key)
        if answer.status != 200 or answer.error:  # what a page says may look like an error
            check(answer, bucket, f"s3:GetObject on {bucket.key(file.key)}")
        return Fetched(file.key, answer.headers, _read(file.key, answer))

    return Call(file.key, lambda: request, read, file.size)


def _read(key: str, answer: Answer) -> Document | Trouble:
    content = _decoded(answer.headers.get("content-encoding", ""), answer.body)
    if isinstance(content, Trouble):
        return content
    try:
        return read_web_manifest(content) if is_web_manifest(key) else read_page(content)
    except TooLarge:
        return Trouble.TOO_LARGE


def _decoded(encodings: str, body: bytes) -> bytes | Trouble:
    left = {encoding.strip() for encoding in encodings.lower().split(",")} - _NONE
    if not left:
        return Trouble.UNTOLD_GZIP if body.startswith(_GZIP) else body
    return _unzipped(body) if left <= {"gzip", "x-gzip"} else Trouble.UNKNOWN_ENCODING


def _unzipped(body: bytes) -> bytes | Trouble:
    """Undo gzip as browsers do: what follows the first member does not count."""
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = stream.decompress(body, LARGEST + 1)
    except zlib.error:
        return Trouble.NOT_GZIP
    if len(content) > LARGEST:
        return Trouble.TOO_LARGE
    return content if stream.eof else Trouble.CUT_SHORT
