"""Sorts the files of a version by what the destination holds of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from imgctl_backends.spa.answers import Row
from imgctl_backends.spa.bucket import Bucket
from imgctl_backends.spa.contents import same_content
from imgctl_backends.spa.dispatch import Call, Dispatcher
from imgctl_backends.spa.fastlane import Answer, Request
from imgctl_backends.spa.faults import changed_source
from imgctl_backends.spa.identity import compare_checksums, same_tag, whole_checksums
from imgctl_backends.spa.judge import check
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.pace import Patience
from imgctl_backends.spa.waiting import both, pool, settle
from imgctl_core import Context

_READERS: Final = 4


@dataclass(slots=True)
class Comparison:
    """What the destination holds of some files.

    `same` has the files with the destination's entity tag in `seen`, `different` the
    files with the entity tag of what is there in their place.
    """

    missing: list[File] = field(default_factory=list)
    same: list[File] = field(default_factory=list)
    different: list[tuple[File, str]] = field(default_factory=list)


class Comparer:
    """Compares contents, never sizes and times alone."""

    def __init__(
        self, source: Bucket, destination: Bucket, context: Context, patience: Patience
    ) -> None:
        self._source = source
        self._destination = destination
        self._context = context
        self._patience = patience

    def compare(
        self,
        files: Iterable[File],
        there: Mapping[str, Row],
        written: Mapping[str, str] | None = None,
    ) -> Comparison:
        """Compare the source's files with what the destination lists.

        `written` has the entity tags that the destination gave for copies just made.
        Asks for checksums only where the lists leave a doubt, and reads contents only
        where checksums leave one.
        """
        result, doubtful = Comparison(), list[tuple[File, Row]]()
        for file in files:
            row = there.get(file.key)
            if row is None:
                result.missing.append(file)
            elif row.size != file.size:
                result.different.append((file, row.etag))
            elif self._known(file, row, written or {}):
                result.same.append(replace(file, seen=row.etag))
            else:
                doubtful.append((file, row))
        if doubtful:
            self._look_closer(doubtful, result)
        return result

    def _known(self, file: File, row: Row, written: Mapping[str, str]) -> bool:
        if same_tag(file.etag, row.etag):
            return True
        return bool(row.etag) and row.etag in (file.seen, written.get(file.key))

    def _look_closer(self, doubtful: list[tuple[File, Row]], result: Comparison) -> None:
        here, there = both(
            self._context,
            lambda: self._checksums(self._source, {f.key: f.etag for f, _ in doubtful}),
            lambda: self._checksums(self._destination, {f.key: r.etag for f, r in doubtful}),
            "checksums",
        )
        unclear = []
        for file, row in doubtful:
            verdict = compare_checksums(here[file.key], there[file.key])
            if verdict is None:
                unclear.append((file, row))
            else:
                _put(result, file, row, verdict)
        if unclear:
            self._read(unclear, result)

    def _checksums(self, bucket: Bucket, tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
        dispatcher = Dispatcher[dict[str, str]](bucket, self._context, self._patience)
        calls = (self._head(bucket, key, etag) for key, etag in tags.items())
        return {call.subject: found for call, found in dispatcher.run(calls)}

    def _head(self, bucket: Bucket, key: str, etag: str) -> Call[dict[str, str]]:
        headers = (
            ("x-amz-checksum-mode", "ENABLED"),
            *((("If-Match", f'"{etag}"'),) if etag else ()),
            *bucket.guard_headers(),
        )
        request = Request("HeadObject", "HEAD", bucket.path(key), headers)

        def read(answer: Answer) -> dict[str, str]:
            if answer.status in (404, 412):
                raise changed_source(bucket.place, key)
            check(answer, bucket, f"s3:GetObject on {bucket.key(key)}")
            return whole_checksums(answer.headers)

        return Call(key, lambda: request, read)

    def _read(self, unclear: list[tuple[File, Row]], result: Comparison) -> None:
        with pool(_READERS, "compare") as executor:
            jobs = {
                executor.submit(
                    same_content,
                    self._source,
                    self._destination,
                    file.key,
                    (file.etag, row.etag),
                    self._context,
                ): (file, row)
                for file, row in unclear
            }
            for job in settle(jobs, self._context):
                _put(result, *jobs[job], job.result())


def _put(result: Comparison, file: File, row: Row, same: bool) -> None:
    if same:
        result.same.append(replace(file, seen=row.etag))
    else:
        result.different.append((file, row.etag))
