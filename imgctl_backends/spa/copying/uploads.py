"""Multipart uploads by boto3: what is sent from this machine in several parts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from imgctl_backends.spa.copying.properties import made, unsupported
from imgctl_backends.spa.wire.answers import Made
from imgctl_backends.spa.wire.bucket import Bucket

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedMultipartUploadTypeDef, CompletedPartTypeDef

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


def _where(destination: Bucket, key: str) -> dict[str, Any]:
    return {
        "Bucket": destination.place.bucket,
        "Key": destination.key(key),
        **destination.guard(),
    }
