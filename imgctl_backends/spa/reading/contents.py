"""Reads objects to the end: for what neither entity tags nor checksums can tell."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from botocore.exceptions import ClientError

from imgctl_backends.spa.copying.properties import if_match
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.faults import changed_source
from imgctl_core import Context

_CHUNK: Final = 256 * 1024


def read_chunks(bucket: Bucket, key: str, etag: str, context: Context) -> Iterator[bytes]:
    """Yield an object's content, if it is still the one with this entity tag.

    Raises:
        EndpointFailed: it changed.
    """
    with bucket.sdk(f"s3:GetObject on {bucket.key(key)}") as client:
        try:
            answer = client.get_object(
                Bucket=bucket.place.bucket,
                Key=bucket.key(key),
                **if_match(etag),
                **bucket.guard(),
            )
        except ClientError as error:
            if changed(error):
                raise changed_source(bucket.place, key) from error
            raise
        with closing(answer["Body"]) as body:
            for chunk in body.iter_chunks(_CHUNK):
                context.check()
                yield chunk


def changed(error: ClientError) -> bool:
    """Return whether an error says that the object is not the one that was listed."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = error.response.get("Error", {}).get("Code")
    return status == 412 or code in ("NoSuchKey", "PreconditionFailed")


def sha256(bucket: Bucket, key: str, etag: str, context: Context) -> str:
    """Return the SHA-256 of an object's content, in hex."""
    total = hashlib.sha256()
    for chunk in read_chunks(bucket, key, etag, context):
        total.update(chunk)
    return total.hexdigest()


def same_content(
    source: Bucket, destination: Bucket, key: str, etags: tuple[str, str], context: Context
) -> bool:
    """Read both sides until they differ; two chunks are all that is held in memory."""
    one = read_chunks(source, key, etags[0], context)
    other = read_chunks(destination, key, etags[1], context)
    left, right = b"", b""
    while True:
        left = left or next(one, b"")
        right = right or next(other, b"")
        length = min(len(left), len(right))
        if not length:
            return not left and not right
        if left[:length] != right[:length]:
            return False
        left, right = left[length:], right[length:]


def is_still(bucket: Bucket, key: str, etag: str) -> bool:
    """Return whether an object is still the one with this entity tag."""
    with bucket.sdk(f"s3:GetObject on {bucket.key(key)}") as client:
        try:
            client.head_object(
                Bucket=bucket.place.bucket,
                Key=bucket.key(key),
                **if_match(etag),
                **bucket.guard(),
            )
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in (404, 412):
                return False
            raise
    return True
