"""Says what each listed file of the source is."""

from __future__ import annotations

from typing import Final

from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading.contents import sha256
from imgctl_backends.spa.reading.identity import speaks_of_content
from imgctl_backends.spa.reading.listing import Listing
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.waiting import pool, settle
from imgctl_core import Context

_READERS: Final = 4


def identified(source: Bucket, listing: Listing, context: Context) -> list[File]:
    """Return the source's files, each with what identifies its content.

    That is the entity tag where it is a hash, and else, after reading the file once,
    the SHA-256 of its content.
    """
    files: list[File] = []
    silent: list[File] = []
    for file in listing.files:
        (files if speaks_of_content(file.etag) else silent).append(file)
    if silent:
        with pool(_READERS, "identify") as executor:
            jobs = {
                executor.submit(sha256, source, file.key, file.etag, context): file
                for file in silent
            }
            files += [jobs[job]._replace(content=job.result()) for job in settle(jobs, context)]
    return files
