"""Says what each listed file of the source is."""

from __future__ import annotations

from typing import Final

from imgctl_backends.spa.bucket import Bucket
from imgctl_backends.spa.contents import sha256
from imgctl_backends.spa.identity import speaks_of_content
from imgctl_backends.spa.listing import Listing
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.waiting import pool, settle
from imgctl_core import Context

_READERS: Final = 4


def identified(source: Bucket, listing: Listing, context: Context) -> list[File]:
    """Return the source's files, each with what identifies its content.

    That is the entity tag where it is a hash, and else, after reading the file once,
    the SHA-256 of its content.
    """
    files, silent = [], []
    for key, row in listing.files.items():
        if speaks_of_content(row.etag):
            files.append(File(key, row.size, row.etag, f"etag:{row.etag.lower()}"))
        else:
            silent.append((key, row))
    if silent:
        with pool(_READERS, "identify") as executor:
            jobs = {
                executor.submit(sha256, source, key, row.etag, context): (key, row)
                for key, row in silent
            }
            for job in settle(jobs, context):
                key, row = jobs[job]
                files.append(File(key, row.size, row.etag, f"sha256:{job.result()}"))
    return files
