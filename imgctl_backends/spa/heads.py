"""Asks for single objects what a list does not tell, many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imgctl_backends.spa.answers import bare
from imgctl_backends.spa.bucket import Bucket
from imgctl_backends.spa.dispatch import Call, Dispatcher
from imgctl_backends.spa.fastlane import Answer, Request
from imgctl_backends.spa.faults import changed
from imgctl_backends.spa.judge import check
from imgctl_backends.spa.pace import Patience
from imgctl_core import Context


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
    request = Request("HeadObject", "HEAD", bucket.path(key), headers)

    def read(answer: Answer) -> Head | None:
        if answer.status == 404 and not etag:
            return None
        if answer.status in (404, 412):
            raise changed(bucket.place, key)
        check(answer, bucket, f"s3:GetObject on {bucket.key(key)}")
        size = answer.headers.get("content-length", "")
        return Head(
            int(size) if size.isdigit() else 0, bare(answer.headers.get("etag", "")), answer.headers
        )

    return Call(key, lambda: request, read)
