"""Lists what is under a version's prefix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from imgctl_backends.spa.answers import Page, Row, Unreadable, read_page
from imgctl_backends.spa.bucket import Bucket
from imgctl_backends.spa.dispatch import Again, Call, Dispatcher
from imgctl_backends.spa.fastlane import Answer, Request
from imgctl_backends.spa.judge import check
from imgctl_backends.spa.pace import Patience
from imgctl_backends.spa.references import relative_key
from imgctl_core import Context
from imgctl_core.errors import EndpointFailed

_ACTION: Final = "s3:ListBucket"


@dataclass(slots=True)
class Listing:
    """The files under a version's prefix, by key relative to it.

    `markers` counts the empty objects whose key ends in `/`: consoles and file tools
    leave them for folders. They are no files and are never copied.
    """

    files: dict[str, Row] = field(default_factory=dict)
    markers: int = 0


def list_version(bucket: Bucket, context: Context, patience: Patience) -> Listing:
    """Return everything under the bucket's prefix.

    Raises:
        EndpointFailed: a key is refused, or the answers make no sense.
    """
    listing = Listing()
    more, told = "", set[str]()
    while True:
        page = _page(bucket, more, context, patience)
        for row in page.rows:
            _take(row, bucket, listing)
        if not page.more:
            return listing
        if page.more in told:
            raise EndpointFailed(f"{bucket.place} lists in circles")
        told.add(page.more)
        more = page.more


def _take(row: Row, bucket: Bucket, listing: Listing) -> None:
    key = relative_key(row.key, bucket.place)
    if row.size == 0 and (not key or key.endswith("/")):
        listing.markers += 1
    elif not key:
        raise EndpointFailed(
            f"{bucket.place} has an object named {bucket.place.prefix}, which is refused: "
            "it is a folder's name with content",
            fix="remove that object at the source",
        )
    else:
        listing.files[key] = row


def _page(bucket: Bucket, more: str, context: Context, patience: Patience) -> Page:
    # In alphabetical order, as the signature wants it.
    query = {
        "continuation-token": more,
        "encoding-type": "url",
        "list-type": "2",
        "prefix": bucket.place.prefix,
    }
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items() if value)
    request = Request("ListObjectsV2", "GET", f"{bucket.base}/?{text}", bucket.guard_headers())

    def read(answer: Answer) -> Page:
        check(answer, bucket, _ACTION)
        try:
            return read_page(answer.body)
        except Unreadable as error:
            raise Again(str(error)) from error

    call = Call(f"the list of {bucket.place.url}", lambda: request, read)
    ((_, page),) = Dispatcher[Page](bucket, context, patience).run([call])
    return page
