"""A record in an object of the bucket: conditional writes are its compare-and-swap."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

from botocore.exceptions import ClientError

from imgctl_backends.spa.copying.properties import crc32_argument, unsupported, write_guard
from imgctl_backends.spa.live.calls import called
from imgctl_backends.spa.live.held import at_root
from imgctl_backends.spa.live.record import Record, Unreadable, from_json, to_json
from imgctl_backends.spa.live.store import Seen, overtaken
from imgctl_backends.spa.wire.answers import bare
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context
from imgctl_core.errors import Conflict, EndpointFailed

#: Bytes; a record has some hundreds.
_LARGEST: Final = 64 * 1024


class ObjectStore:
    """A record under a key from the bucket's root, of whose places any may be given."""

    def __init__(self, bucket: Bucket, key: str, patience: Patience) -> None:
        self._bucket = at_root(bucket)
        self._key = key
        self._patience = patience

    @property
    def where(self) -> str:
        return self._bucket.place.url + self._key

    def read(self, context: Context) -> Seen:
        return called(context, self._read)

    def write(self, record: Record, over: Seen, context: Context) -> Seen:
        with self._bucket.sdk(f"s3:PutObject on {self._key}"):
            return self._write(record, over, context)

    def _read(self) -> Seen:
        found = self._get()
        if found is None:
            return Seen(Record())
        body, etag = found
        try:
            if len(body) > _LARGEST:
                raise Unreadable("it is too large")
            return Seen(from_json(body), etag)
        except Unreadable as error:
            raise EndpointFailed(
                f"{self.where} is in the way: imgctl did not write it, since {error}",
                fix="move it away, or name another object in "
                f"[environments.{self._bucket.place.environment}.spa.live]",
            ) from error

    def _write(self, record: Record, over: Seen, context: Context) -> Seen:
        body = to_json(record)
        guard, failures = write_guard(over.tag), 0
        while True:
            try:
                return Seen(record, self._put(body, guard))
            except ClientError as error:
                failures += 1
                if guard and unsupported(error):
                    # What is left is to look once more, as late as can be.
                    if self._read() != over:
                        raise self._overtaken() from error
                    guard = {}
                elif _refused(error):
                    seen = self._read()
                    if seen.record != record:
                        raise self._overtaken() from error
                    return seen  # the answer to an earlier try was lost
                elif _busy(error) and failures < self._patience.attempts:
                    context.cancel.wait(self._patience.delay(failures))
                else:
                    raise

    def _get(self) -> tuple[bytes, str] | None:
        with self._bucket.sdk(f"s3:GetObject on {self._key}") as client:
            try:
                answer = client.get_object(**self._where())
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                    return None
                raise
            with closing(answer["Body"]) as body:
                return body.read(_LARGEST + 1), bare(answer["ETag"])

    def _put(self, body: bytes, guard: dict[str, Any]) -> str:
        answer = self._bucket.client.put_object(
            **self._where(),
            **guard,
            **self._bucket.writing,
            Body=body,
            ContentType="application/json",
            CacheControl="no-cache",
            **crc32_argument(body),
        )
        return bare(answer["ETag"])

    def _overtaken(self) -> Conflict:
        return overtaken(self.where, self._bucket.place.environment)

    def _where(self) -> dict[str, Any]:
        return {
            "Bucket": self._bucket.place.bucket,
            "Key": self._bucket.key(self._key),
            **self._bucket.guard(),
        }


def _refused(error: ClientError) -> bool:
    """Return whether the condition of a write did not hold.

    Where there must be an object and is none, S3 says NoSuchKey.
    """
    code = error.response.get("Error", {}).get("Code")
    return _status(error) == 412 or code in ("PreconditionFailed", "NoSuchKey")


def _busy(error: ClientError) -> bool:
    return _status(error) == 409


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
