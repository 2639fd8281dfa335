"""Copies what is too large for one CopyObject, part by part, on the server side of S3.

CopyObject keeps an object's properties by itself; parts carry bytes only, so everything
is read from the source and set again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError

from imgctl_backends.spa.answers import Made
from imgctl_backends.spa.bucket import Bucket
from imgctl_backends.spa.contents import changed
from imgctl_backends.spa.faults import changed_source, taken_by_another
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.properties import (
    carried,
    if_match,
    made,
    unsupported,
    write_guard,
)
from imgctl_backends.spa.waiting import pool, settle
from imgctl_core import Context

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedMultipartUploadTypeDef, CompletedPartTypeDef

#: Bytes: what one CopyObject takes (API reference, CopyObject: 5 GB).
SINGLE_COPY_LIMIT: Final = 5 * 1024**3
PART_SIZE: Final = 512 * 1024**2
_MOST_PARTS: Final = 10_000
_AT_ONCE: Final = 8

_LOG: Final = logging.getLogger(__name__)


@contextmanager
def upload(destination: Bucket, key: str, properties: dict[str, Any]) -> Iterator[str]:
    """Yield the id of a new multipart upload; abort it when the block fails.

    What an abort can't take back, the bucket's lifecycle rule for incomplete uploads
    should: S3 bills parts until they are gone.
    """
    client, where = destination.client, _where(destination, key)
    upload_id = client.create_multipart_upload(**where, **properties)["UploadId"]
    try:
        yield upload_id
    except BaseException:
        try:
            client.abort_multipart_upload(**where, UploadId=upload_id)
        except (BotoCoreError, ClientError) as error:
            _LOG.warning("parts of %s were left behind: %s", destination.key(key), error)
        raise


def finish(
    destination: Bucket,
    key: str,
    upload_id: str,
    parts: Iterable[CompletedPartTypeDef],
    guard: dict[str, Any],
    **extra: Any,
) -> Made:
    """Complete an upload and return what it made.

    A server that does not know the conditional `guard` is asked without it.
    """
    whole: CompletedMultipartUploadTypeDef = {
        "Parts": sorted(parts, key=lambda part: part["PartNumber"])
    }

    def complete(guard: dict[str, Any]) -> Made:
        done = destination.client.complete_multipart_upload(
            **_where(destination, key),
            UploadId=upload_id,
            MultipartUpload=whole,
            **guard,
            **extra,
        )
        return made(done)

    try:
        return complete(guard)
    except ClientError as error:
        if not guard or not unsupported(error):
            raise
        return complete({})


def copy_in_parts(
    source: Bucket, destination: Bucket, file: File, over: str, tags: bool, context: Context
) -> Made:
    """Copy one large file and return what that made at the destination.

    `over` is the entity tag of what may be replaced there, "" for nothing.
    """
    action = f"a copy of {file.key}"
    with destination.sdk(action) as client:
        try:
            properties = _properties(source, destination, file, tags, client)
            with upload(destination, file.key, properties) as upload_id:
                parts = _copy_parts(source, destination, file, upload_id, context)
                guard, size = write_guard(over), file.size
                return finish(destination, file.key, upload_id, parts, guard, MpuObjectSize=size)
        except ClientError as error:
            raise _explained(error, source, destination, file) from error


def _explained(error: ClientError, source: Bucket, destination: Bucket, file: File) -> Exception:
    if not changed(error):
        return error
    if error.operation_name == "CompleteMultipartUpload":
        return taken_by_another(destination.place, file.key)
    return changed_source(source.place, file.key)


def _properties(
    source: Bucket, destination: Bucket, file: File, tags: bool, client: S3Client
) -> dict[str, Any]:
    there: dict[str, Any] = {
        "Bucket": source.place.bucket,
        "Key": source.key(file.key),
        **source.guard(),
    }
    head = client.head_object(**there, **if_match(file.etag))
    properties = {**carried(head), **destination.writing}
    if tags:
        found = client.get_object_tagging(**there)["TagSet"]
        if found:
            properties["Tagging"] = urlencode([(tag["Key"], tag["Value"]) for tag in found])
    return properties


def _copy_parts(
    source: Bucket, destination: Bucket, file: File, upload_id: str, context: Context
) -> list[CompletedPartTypeDef]:
    size = max(PART_SIZE, -(-file.size // _MOST_PARTS))
    guard: dict[str, Any] = {}
    if source.place.owner:
        guard["ExpectedSourceBucketOwner"] = source.place.owner
    if file.etag:
        guard["CopySourceIfMatch"] = f'"{file.etag}"'

    def copy(number: int, start: int) -> CompletedPartTypeDef:
        context.check()
        end = min(start + size, file.size)
        result = destination.client.upload_part_copy(
            **_where(destination, file.key),
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": source.place.bucket, "Key": source.key(file.key)},
            CopySourceRange=f"bytes={start}-{end - 1}",
            **guard,
        )
        context.progress.copied(end - start)
        return {"PartNumber": number, "ETag": result["CopyPartResult"]["ETag"]}

    with pool(_AT_ONCE, "parts") as executor:
        jobs = [
            executor.submit(copy, number, start)
            for number, start in enumerate(range(0, file.size, size), 1)
        ]
        return [job.result() for job in settle(jobs, context)]


def _where(destination: Bucket, key: str) -> dict[str, Any]:
    return {
        "Bucket": destination.place.bucket,
        "Key": destination.key(key),
        **destination.guard(),
    }
