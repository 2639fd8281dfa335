"""Asks for single objects what a list does not tell, many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imgctl_backends.spa.wire.answers import bare
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.dispatch import Again, Call, Dispatcher
from imgctl_backends.spa.wire.fastlane import Answer, Request
from imgctl_backends.spa.wire.faults import changed
from imgctl_backends.spa.wire.judge import check
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context

#: What a refused HEAD has for a status: no body says more.
_WORDLESS: Final = frozenset({400, 401, 403})
#: A GET of one byte succeeded; of an empty object there is none to be had.
_GOT: Final = frozenset({200, 206, 416})


@dataclass(frozen=True, slots=True)
class Head:
    """What an object is, beside its bytes. Names of headers are in lower case."""

    size: int
    etag: str
    headers: Mapping[str, str]


def heads(
    bucket: Bucket, wanted: Mapping[str, str], context: Context, patience: Patience
) -> dict[str, Head | None]:
    """Return the heads of objects by key, None for one that is not there.

    `wanted` has the entity tag that each must still have, "" for any.

    Raises:
        EndpointFailed, Conflict: one is not what it was, or gone although it had a tag.
    """
    dispatcher = Dispatcher[Head | None](bucket, context, patience)
    calls = (_call(bucket, key, etag) for key, etag in wanted.items())
    return {call.subject: found for call, found in dispatcher.run(calls)}


def _call(bucket: Bucket, key: str, etag: str) -> Call[Head | None]:
    headers = (
        ("x-amz-checksum-mode", "ENABLED"),
        *((("If-Match", f'"{etag}"'),) if etag else ()),
        *bucket.guard_headers(),
    )
    path = bucket.path(key)
    head = Request("HeadObject", "HEAD", path, headers)
    # A HEAD is refused without a word. The same as a GET, of one byte, says why.
    why = Request("GetObject", "GET", path, (*headers, ("Range", "bytes=0-0")))
    refused = False

    def read(answer: Answer) -> Head | None:
        nonlocal refused
        if answer.status == 404 and not etag:
            return None
        if answer.status in (404, 412):
            raise changed(bucket.place, key)
        if answer.status in _WORDLESS and not refused:
            refused = True
            raise Again(f"HTTP status {answer.status}", at_once=True)
        if refused:
            refused = False
            if answer.status not in _GOT:
                check(answer, bucket, f"s3:GetObject on {bucket.key(key)}")
            raise Again("its HEAD was refused, and a GET was not")
        check(answer, bucket, f"s3:GetObject on {bucket.key(key)}")
        return _read(answer)

    return Call(key, lambda: why if refused else head, read)


def _read(answer: Answer) -> Head:
    size, etag = answer.headers.get("content-length", ""), bare(answer.headers.get("etag", ""))
    if not etag or not size.isdigit():
        # Whoever answered instead of S3: nothing of an object may be taken from it.
        raise Again("the answer tells no size and entity tag")
    return Head(int(size), etag, answer.headers)
