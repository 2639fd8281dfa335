"""Copies files through this machine, where no one identity or endpoint serves both ends.

Memory is bounded: each of a few threads holds one part at a time. What S3 would keep in
a copy of its own is read with the bytes and written with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

from imgctl_backends.spa.copying.copy import Copied, Copy
from imgctl_backends.spa.copying.properties import (
    carried,
    crc32_argument,
    if_match,
    made,
    unsupported,
    write_guard,
)
from imgctl_backends.spa.copying.uploads import finish, upload
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading.contents import changed
from imgctl_backends.spa.reading.identity import is_md5, whole_checksums
from imgctl_backends.spa.wire.answers import Made
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.dispatch import MOST_FAILURES
from imgctl_backends.spa.wire.faults import all_of, changed_source, from_sdk
from imgctl_backends.spa.wire.waiting import pool, settle
from imgctl_core import Context
from imgctl_core.errors import EndpointDenied, EndpointFailed, EndpointUnreachable, ImgctlError

PART_SIZE: Final = 8 * 1024**2
_MOST_PARTS: Final = 10_000
_AT_ONCE: Final = 8


class StreamingCopier:
    """GET here, PUT there, with the checksum carried from end to end."""

    def __init__(self, source: Bucket, destination: Bucket, most: int, *, tags: bool) -> None:
        self._source = source
        self._destination = destination
        self._most = most
        self._with_tags = tags
        self._conditional = True

    def copy(self, copies: Sequence[Copy], context: Context) -> Iterator[Copied]:
        """Copy all, yield each as it is done; those that failed are tried again at the end.

        Raises:
            ImgctlError: for all that failed for good.
        """
        todo = list(copies)
        for last in (False, True):
            failed: list[tuple[Copy, ImgctlError]] = []
            for copy, result in self._each(todo, context):
                if isinstance(result, Copied):
                    yield result
                else:
                    failed.append((copy, result))
                    if len(failed) >= MOST_FAILURES:
                        raise all_of([(copy.file.key, error) for copy, error in failed])
            if not failed:
                return
            if last or any(isinstance(error, EndpointDenied) for _, error in failed):
                raise all_of([(copy.file.key, error) for copy, error in failed])
            todo = [copy for copy, _ in failed]

    def _each(
        self, copies: Sequence[Copy], context: Context
    ) -> Iterator[tuple[Copy, Copied | ImgctlError]]:
        with pool(min(_AT_ONCE, self._most), "stream") as executor:
            jobs = {executor.submit(self._one, copy, context): copy for copy in copies}
            for job in settle(jobs, context):
                try:
                    yield jobs[job], job.result()
                except (EndpointDenied, EndpointFailed, EndpointUnreachable) as error:
                    yield jobs[job], error

    def _one(self, copy: Copy, context: Context) -> Copied:
        context.check()
        guard = write_guard(copy.over) if self._conditional else {}
        try:
            return Copied(copy.file, self._carry(copy.file, guard, context))
        except ClientError as error:  # the destination's: the source's are mapped inside
            if _refused(error):
                return Copied(copy.file, None)
            if guard and unsupported(error):
                self._conditional = False
                return self._one(copy, context)
            action = f"s3:PutObject on {self._destination.key(copy.file.key)}"
            raise from_sdk(error, self._destination.place, action) from error
        except BotoCoreError as error:
            raise from_sdk(error, self._destination.place, "s3:PutObject") from error

    def _carry(self, file: File, guard: dict[str, Any], context: Context) -> Made:
        tags = self._tags(file)
        with self._source.sdk(f"s3:GetObject on {self._source.key(file.key)}") as client:
            try:
                answer = client.get_object(
                    Bucket=self._source.place.bucket,
                    Key=self._source.key(file.key),
                    ChecksumMode="ENABLED",
                    **if_match(file.etag),
                    **self._source.guard(),
                )
            except ClientError as error:
                if changed(error):
                    raise changed_source(self._source.place, file.key) from error
                raise
        with closing(answer["Body"]) as body:
            properties = {**carried(answer), **tags, **self._destination.writing}
            headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
            source = _Source(self._source, file, body, headers, context)
            checksum = _checksum(headers)
            if file.size <= PART_SIZE:
                return self._whole(source, properties, checksum, guard)
            return self._parts(source, properties, checksum, guard)

    def _tags(self, file: File) -> dict[str, Any]:
        if not self._with_tags:
            return {}
        with self._source.sdk(f"s3:GetObjectTagging on {self._source.key(file.key)}") as client:
            try:
                found = client.get_object_tagging(
                    Bucket=self._source.place.bucket,
                    Key=self._source.key(file.key),
                    **self._source.guard(),
                )["TagSet"]
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code == "NoSuchKey":
                    raise changed_source(self._source.place, file.key) from error
                if code == "NoSuchTagSet":
                    return {}
                raise
        return {"Tagging": urlencode([(t["Key"], t["Value"]) for t in found])} if found else {}

    def _whole(
        self,
        source: _Source,
        properties: dict[str, Any],
        checksum: dict[str, Any],
        guard: dict[str, Any],
    ) -> Made:
        content = source.read(source.file.size)
        source.finish()
        done = self._destination.client.put_object(
            **self._where(source.file),
            **properties,
            **(checksum or crc32_argument(content)),
            **guard,
            Body=content,
        )
        source.count(len(content))
        return made(done)

    def _parts(
        self,
        source: _Source,
        properties: dict[str, Any],
        checksum: dict[str, Any],
        guard: dict[str, Any],
    ) -> Made:
        file = source.file
        size = max(PART_SIZE, -(-file.size // _MOST_PARTS))
        algorithm, whole = dict[str, Any](), dict[str, Any]()
        for name in checksum:
            algorithm = {"ChecksumAlgorithm": name.removeprefix("Checksum")}
            whole = {"ChecksumType": "FULL_OBJECT"}
        with upload(self._destination, file.key, {**properties, **algorithm, **whole}) as upload_id:
            parts: list[Any] = []
            while content := source.read(size):
                number = len(parts) + 1
                done: Any = self._destination.client.upload_part(
                    **self._where(file),
                    **algorithm,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=content,
                )
                part: Any = {"PartNumber": number, "ETag": done["ETag"]}
                parts.append({**part, **{name: done[name] for name in checksum if name in done}})
                source.count(len(content))
            source.finish()
            return finish(self._destination, file.key, upload_id, parts, guard, **checksum, **whole)

    def _where(self, file: File) -> dict[str, Any]:
        return {
            "Bucket": self._destination.place.bucket,
            "Key": self._destination.key(file.key),
            **self._destination.guard(),
        }


class _Source:
    """A file's bytes as they come, counted and checked.

    boto3 checks them against the object's own checksum when it has one, once they end.
    """

    def __init__(
        self, bucket: Bucket, file: File, body: Any, headers: Mapping[str, str], context: Context
    ) -> None:
        self.file = file
        self._bucket = bucket
        self._body = body
        self._context = context
        self._hash = hashlib.md5(usedforsecurity=False) if is_md5(file.etag, headers) else None
        self._read = 0

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end only."""
        with self._bucket.sdk(f"s3:GetObject on {self._bucket.key(self.file.key)}"):
            try:
                content: bytes = self._body.read(size)
            except FlexibleChecksumError as error:
                raise self._damaged() from error
        self._context.check()
        if self._hash is not None:
            self._hash.update(content)
        self._read += len(content)
        return content

    def finish(self) -> None:
        """Check that all of the file came, and came whole.

        Raises:
            EndpointFailed: it did not.
        """
        if self.read(1) or self._read != self.file.size:
            raise changed_source(self._bucket.place, self.file.key)
        if self._hash is not None and self._hash.hexdigest() != self.file.etag.lower():
            raise self._damaged()

    def _damaged(self) -> EndpointFailed:
        return EndpointFailed(
            f"{self._bucket.place} delivered other bytes for {self.file.key!r} than it listed",
            fix="run the same command again; if that fails as well, the file is damaged",
        )

    def count(self, size: int) -> None:
        self._context.progress.copied(size)


def _refused(error: ClientError) -> bool:
    """Return whether a write was refused because of what is there.

    boto3's own second try can meet what its first one made or completed.
    """
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 412 or error.response.get("Error", {}).get("Code") == "NoSuchUpload"


def _checksum(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the source's checksum as the argument that makes the destination check it."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name, value in whole_checksums(lower).items():
        if name in ("crc64nvme", "crc32", "crc32c"):
            return {f"Checksum{name.upper()}": value}
    return {}
