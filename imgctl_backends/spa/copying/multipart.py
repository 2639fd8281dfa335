"""Copies what is too large for one CopyObject, part by part, on the server side of S3.

CopyObject keeps an object's properties by itself; parts carry bytes only, so everything
is read from the source and set again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from imgctl_backends.spa.copying.properties import carried_headers
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading.heads import heads
from imgctl_backends.spa.wire.answers import (
    Made,
    read_completed,
    read_part,
    read_refusal,
    read_tags,
    read_upload,
    written_parts,
)
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.dispatch import Again, Call, Dispatcher, ask
from imgctl_backends.spa.wire.fastlane import Answer, Request
from imgctl_backends.spa.wire.faults import changed_source
from imgctl_backends.spa.wire.judge import check, gone, understood
from imgctl_backends.spa.wire.pace import Pace, Patience
from imgctl_core import Context
from imgctl_core.errors import ImgctlError

#: Bytes: larger parts would take longer to copy again when one fails.
_PART_SIZE: Final = 512 * 1024**2
_MOST_PARTS: Final = 10_000
_AT_ONCE: Final = 8
_PER_SECOND: Final = 1000
#: Seconds that taking parts back may take: a cancel may have led there.
_ABANDON_WITHIN: Final = 1.5

_LOG: Final = logging.getLogger(__name__)

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Upload:
    file: File
    path: str
    id: str

    def request(
        self, operation: str, method: str, headers: Headers, body: bytes = b"", part: int = 0
    ) -> Request:
        # In alphabetical order, as the signature wants it.
        query = f"partNumber={part}&" if part else ""
        path = f"{self.path}?{query}uploadId={quote(self.id, safe='')}"
        return Request(operation, method, path, headers, body)


@dataclass(frozen=True, slots=True)
class PartsCopier:
    """Copies large files, one after the other. `limit` is the largest part in bytes.

    Files so large that they would have more parts than S3 takes get larger ones.
    """

    source: Bucket
    destination: Bucket
    patience: Patience
    limit: int
    tags: bool

    def copy(self, file: File, over: str, context: Context) -> Made | None:
        """Copy a file and return what that made at the destination.

        `over` is the entity tag of what may be replaced there, "" for nothing. None means
        that the destination refused, as for `Copied`.

        Raises:
            ImgctlError: see `Dispatcher.run`. The parts are taken back.
        """
        headers = self._properties(file, context)
        with self._upload(file, headers, context) as upload:
            tags = self._copy_parts(upload, context)
            made = self._complete(upload, over, tags, context)
            if made is None:
                self._abandon(upload)
            return made

    def _properties(self, file: File, context: Context) -> Headers:
        head = heads(self.source, {file.key: file.etag}, context, self.patience)[file.key]
        headers = carried_headers(head.headers if head else {})
        tags = self._tags(file, context) if self.tags else []
        if tags:
            headers = (*headers, ("x-amz-tagging", urlencode(tags)))
        return (*headers, *self.destination.write_headers(), *self.destination.guard_headers())

    def _tags(self, file: File, context: Context) -> Sequence[tuple[str, str]]:
        source = self.source
        path = f"{source.path(file.key)}?tagging"
        request = Request("GetObjectTagging", "GET", path, source.guard_headers())

        def read(answer: Answer) -> Sequence[tuple[str, str]]:
            if answer.status == 404 and read_refusal(answer.body).code == "NoSuchTagSet":
                return []
            if answer.status == 404:
                raise gone(answer, source, source, file.key)
            check(answer, source, f"s3:GetObjectTagging on {source.key(file.key)}")
            return understood(read_tags, answer)

        return ask(source, Call(file.key, lambda: request, read), context, self.patience)

    @contextmanager
    def _upload(self, file: File, headers: Headers, context: Context) -> Iterator[_Upload]:
        """Yield a new upload; abort it when the block fails.

        What an abort can't take back, the bucket's lifecycle rule for incomplete uploads
        should: S3 bills parts until they are gone.
        """
        path = self.destination.path(file.key)
        request = Request("CreateMultipartUpload", "POST", f"{path}?uploads", headers)

        def read(answer: Answer) -> str:
            self._check(answer, file)
            return understood(read_upload, answer)

        call = Call(file.key, lambda: request, read)
        upload = _Upload(file, path, ask(self.destination, call, context, self.patience))
        try:
            yield upload
        except BaseException:
            self._abandon(upload)
            raise

    def _copy_parts(self, upload: _Upload, context: Context) -> Sequence[str]:
        """Copy all parts and return their entity tags, in order."""
        whole = upload.file.size
        size = max(min(_PART_SIZE, self.limit), -(-whole // _MOST_PARTS))
        calls = [
            self._part(upload, number, start, min(start + size, whole))
            for number, start in enumerate(range(0, whole, size), 1)
        ]
        pace = Pace(_AT_ONCE, _PER_SECOND)
        dispatcher = Dispatcher[str](self.destination, context, self.patience, pace, "parts")
        tags = {}
        for call, tag in dispatcher.run(calls):
            context.progress.copied(call.size)
            tags[call.subject] = tag
        return [tags[call.subject] for call in calls]

    def _part(self, upload: _Upload, number: int, start: int, end: int) -> Call[str]:
        file, place = upload.file, self.source.place
        headers = [
            ("x-amz-copy-source", self.source.copy_source(file.key)),
            ("x-amz-copy-source-range", f"bytes={start}-{end - 1}"),
            *self.destination.guard_headers(),
        ]
        if place.owner:
            headers.append(("x-amz-source-expected-bucket-owner", place.owner))
        if file.etag:
            headers.append(("x-amz-copy-source-if-match", f'"{file.etag}"'))
        request = upload.request("UploadPartCopy", "PUT", tuple(headers), part=number)

        def read(answer: Answer) -> str:
            if answer.status == 412:
                raise changed_source(place, file.key)
            self._check(answer, file)
            return understood(read_part, answer)

        return Call(f"part {number} of {file.key}", lambda: request, read, end - start)

    def _complete(
        self, upload: _Upload, over: str, tags: Sequence[str], context: Context
    ) -> Made | None:
        file = upload.file
        condition = ("If-Match", f'"{over}"') if over else ("If-None-Match", "*")
        fixed = (("x-amz-mp-object-size", str(file.size)), *self.destination.guard_headers())
        body = written_parts(tags)
        guarded = True

        def request() -> Request:
            headers = (*fixed, condition) if guarded else fixed
            return upload.request("CompleteMultipartUpload", "POST", headers, body)

        def read(answer: Answer) -> Made | None:
            nonlocal guarded
            if answer.status == 501 and guarded:
                guarded = False
                raise Again("conditional writes are not supported", at_once=True)
            code = read_refusal(answer.body).code
            if answer.status == 412 or code in ("NoSuchUpload", "NoSuchKey"):
                # Somebody wrote or removed what is there; or an earlier try of our own, whose
                # answer was lost, has completed the upload.
                return None
            self._check(answer, file)
            return understood(read_completed, answer)

        call = Call(file.key, request, read, file.size)
        return ask(self.destination, call, context, self.patience)

    def _abandon(self, upload: _Upload) -> None:
        bucket, key = self.destination, upload.file.key
        request = upload.request("AbortMultipartUpload", "DELETE", bucket.guard_headers())

        def read(answer: Answer) -> None:
            if answer.status != 404:
                check(answer, bucket, f"s3:AbortMultipartUpload on {bucket.key(key)}")

        context = Context(deadline=time.monotonic() + _ABANDON_WITHIN)
        try:
            ask(bucket, Call(key, lambda: request, read), context, self.patience)
        except ImgctlError as error:
            _LOG.warning("parts of %s were left behind: %s", bucket.key(key), error.message)

    def _check(self, answer: Answer, file: File) -> None:
        if answer.status == 404:
            raise gone(answer, self.source, self.destination, file.key)
        check(answer, self.destination, f"s3:PutObject on {self.destination.key(file.key)}")
