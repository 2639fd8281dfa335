"""Copies files on the server side of S3: CopyObject through the fast lane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from imgctl_backends.spa.copying.multipart import PartsCopier
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading.contents import is_still
from imgctl_backends.spa.wire.answers import Made, read_copied, read_refusal
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.dispatch import Again, Call, Dispatcher
from imgctl_backends.spa.wire.fastlane import Answer, Request
from imgctl_backends.spa.wire.faults import changed_source
from imgctl_backends.spa.wire.judge import check, gone, understood
from imgctl_backends.spa.wire.pace import Pace, Patience
from imgctl_core import Context

_ACTION: Final = "s3:PutObject"


@dataclass(frozen=True, slots=True)
class Copy:
    """One file to copy. `over` is the entity tag of what it may replace, "" for nothing."""

    file: File
    over: str = ""


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy, and the object that it made.

    None means that the destination refused because of what is there now, which may be a
    copy of our own whose answer was lost.
    """

    file: File
    made: Made | None


class Copier(Protocol):
    """Brings files from one bucket to another, in any order."""

    def copy(self, copies: Sequence[Copy], context: Context) -> Iterator[Copied]: ...


class ServerSideCopier:
    """Lets S3 copy. One identity must be able to read the source and to write.

    What is larger than `limit` bytes is copied in parts.
    """

    def __init__(
        self,
        source: Bucket,
        destination: Bucket,
        pace: Pace,
        patience: Patience,
        *,
        tags: bool,
        limit: int,
    ) -> None:
        self._source = source
        self._destination = destination
        self._pace = pace
        self._patience = patience
        self._tags = tags
        self._limit = limit
        self._conditional = True
        self._unguarded: set[str] = set()
        self._fixed = self._fixed_headers()

    def copy(self, copies: Sequence[Copy], context: Context) -> Iterator[Copied]:
        """Copy all, yield each as it is done.

        Raises:
            ImgctlError: see `Dispatcher.run`.
        """
        large = [copy for copy in copies if copy.file.size > self._limit]
        small = copies
        if large:
            small = [copy for copy in copies if copy.file.size <= self._limit]
        dispatcher = Dispatcher[Copied](self._destination, context, self._patience, self._pace)
        for _, copied in dispatcher.run(self._call(copy) for copy in small):
            context.progress.copied(copied.file.size)
            yield copied
        parts = PartsCopier(
            self._source, self._destination, self._patience, self._limit, self._tags
        )
        for copy in large:
            yield Copied(copy.file, parts.copy(copy.file, copy.over, context))

    def _fixed_headers(self) -> tuple[tuple[str, str], ...]:
        headers = [
            ("x-amz-metadata-directive", "COPY"),
            ("x-amz-tagging-directive", "COPY" if self._tags else "REPLACE"),
            *self._destination.guard_headers(),
            *self._destination.write_headers(),
        ]
        if not self._destination.custom:
            # Copying annotations needs two permissions that object copies never needed.
            headers.append(("x-amz-object-annotation-directive", "EXCLUDE"))
        if self._source.place.owner:
            headers.append(("x-amz-source-expected-bucket-owner", self._source.place.owner))
        return tuple(headers)

    def _call(self, copy: Copy) -> Call[Copied]:
        path = self._destination.path(copy.file.key)
        headers = [("x-amz-copy-source", self._source.copy_source(copy.file.key)), *self._fixed]
        if copy.file.etag:
            headers.append(("x-amz-copy-source-if-match", f'"{copy.file.etag}"'))
        condition = ("If-Match", f'"{copy.over}"') if copy.over else ("If-None-Match", "*")

        def request() -> Request:
            if self._conditional:
                return Request("CopyObject", "PUT", path, (*headers, condition))
            self._unguarded.add(copy.file.key)
            return Request("CopyObject", "PUT", path, tuple(headers))

        return Call(copy.file.key, request, lambda answer: self._read(copy, answer), copy.file.size)

    def _read(self, copy: Copy, answer: Answer) -> Copied:
        if answer.status == 501 and copy.file.key not in self._unguarded:
            # A bucket policy that enforces conditional writes, and servers that don't
            # know them, refuse the header (user guide, conditional-writes-enforce). The
            # list made just before is the guard that is left.
            self._conditional = False
            raise Again("conditional copies are not supported", at_once=True)
        if answer.status == 412:
            return self._precondition(copy, answer)
        if answer.status == 404:
            return self._not_found(copy, answer)
        check(answer, self._destination, f"{_ACTION} on {self._destination.key(copy.file.key)}")
        made = understood(read_copied, answer)
        return Copied(
            copy.file, replace(made, version_id=answer.headers.get("x-amz-version-id", ""))
        )

    def _precondition(self, copy: Copy, answer: Answer) -> Copied:
        condition = read_refusal(answer.body).condition.lower()
        # The other names say nothing for sure: versitygw has `If-Match` for the source too.
        if condition == "if-none-match":
            return Copied(copy.file, None)
        if "copy-source" in condition or not self._source_is_unchanged(copy):
            raise changed_source(self._source.place, copy.file.key)
        return Copied(copy.file, None)

    def _not_found(self, copy: Copy, answer: Answer) -> Copied:
        missing = gone(answer, self._source, self._destination, copy.file.key)
        if copy.over and self._source_is_unchanged(copy):
            return Copied(copy.file, None)  # what was to be replaced is what is gone
        raise missing

    def _source_is_unchanged(self, copy: Copy) -> bool:
        return is_still(self._source, copy.file.key, copy.file.etag)
