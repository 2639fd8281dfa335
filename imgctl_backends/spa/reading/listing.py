"""Lists what is under a version's prefix: page after page, and large versions in parallel.

ListObjectsV2 gives a thousand keys a call, in the order of their UTF-8 bytes, each page
from where the one before it ended. When there are many, the keys that are still to come
are cut into spans, each listed by `start-after` on its own. Nobody knows beforehand where
the keys lie, so the cuts are guessed from the page before, again and again while some
spans go on. Where the keys are known, as at the destination after copying, all pages are
asked for at once. Servers whose order is another one are found out by the pages themselves, and
listed one page after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import Final
from urllib.parse import quote

from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading.spans import Sight, Span, cut_all, in_order
from imgctl_backends.spa.references import Place, relative_key
from imgctl_backends.spa.wire.answers import Page, Unreadable, read_page
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.dispatch import Again, Call, Dispatcher
from imgctl_backends.spa.wire.fastlane import Answer, Request
from imgctl_backends.spa.wire.judge import check
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context
from imgctl_core.errors import EndpointFailed

_ACTION: Final = "s3:ListBucket"
#: Pages that are listed one after the other: most versions have no more.
_PAGES_IN_TURN: Final = 10
#: Expected keys to a span: a page of a thousand has room for some that nobody expects.
_EXPECTED: Final = 950
#: Spans at a time: twice as many as were not empty before, within these bounds, so that
#: wrong guesses cost no more calls than right ones save.
_LEAST_SPANS: Final = 2
_MOST_SPANS: Final = 16


@dataclass(slots=True)
class Listing:
    """The files under a version's prefix, in the order in which the server lists them.

    `markers` counts the empty objects whose key ends in `/`: consoles and file tools
    leave them for folders. They are no files and are never copied.
    """

    files: list[File] = field(default_factory=list)
    markers: int = 0

    def add(self, other: Listing) -> None:
        self.files += other.files
        self.markers += other.markers


@dataclass(frozen=True, slots=True)
class _Part:
    """One page. `last` is its last key, file or not; `more` the token of the next."""

    listing: Listing
    ordered: bool
    sight: Sight
    last: str
    more: str


def list_version(
    bucket: Bucket, context: Context, patience: Patience, expected: Sequence[File] = ()
) -> Listing:
    """Return everything under the bucket's prefix.

    `expected` are files that are probably there, in the order of a list: they only make
    it faster.

    Raises:
        EndpointFailed: a key is refused, or the answers make no sense.
    """
    lister = _Lister(bucket, context, patience)
    spans = _between([file.key for file in expected[_EXPECTED::_EXPECTED]])
    found = lister.in_spans(spans) if spans else None
    if found is not None:
        return found
    begun = lister.in_turn("", _PAGES_IN_TURN)
    if not begun.more:
        return begun.listing
    rest = lister.after(begun) if begun.ordered else None
    begun.listing.add(rest or lister.in_turn(begun.more).listing)
    return begun.listing


class _Lister:
    def __init__(self, bucket: Bucket, context: Context, patience: Patience) -> None:
        self._bucket = bucket
        self._context = context
        self._patience = patience

    def in_turn(self, token: str, most: int | None = None) -> _Part:
        """Return so many pages at most, one after the other, as if they were one."""
        whole, ordered, before = Listing(), True, ""
        told, number = {token}, 0
        while True:
            (part,) = self._pages([{"continuation-token": token}], [Span("")])
            whole.add(part.listing)
            follows = not number or Span(before).begins(part.sight.first)
            ordered = ordered and part.ordered and follows
            before, token, number = part.last, part.more, number + 1
            if not token or number == most:
                return _Part(whole, ordered, part.sight, part.last, token)
            if token in told:
                raise EndpointFailed(f"{self._bucket.place} lists in circles")
            told.add(token)

    def after(self, begun: _Part) -> Listing | None:
        """Return all that comes after a page; None when the server's order is not S3's."""
        return self.in_spans(cut_all([(Span(begun.last), begun.sight)], _MOST_SPANS))

    def in_spans(self, spans: Sequence[Span]) -> Listing | None:
        """Return all that lies in spans; None when the server's order is not S3's."""
        done: list[tuple[bytes, Listing]] = []
        while spans:
            parts = self._pages([self._start(span) for span in spans], spans)
            going_on = []
            for span, part in zip(spans, parts, strict=True):
                first = part.sight.first
                if not part.ordered or not (span.begins(first) if first else not part.more):
                    return None
                done.append((in_order(first), part.listing))
                if part.more and span.holds(part.last) and part.last != span.until:
                    going_on.append((Span(part.last, span.until), part.sight))
            filled = sum(1 for part in parts if part.listing.files)
            most = max(_LEAST_SPANS, len(going_on), min(2 * filled, _MOST_SPANS))
            spans = cut_all(going_on, most)
        whole = Listing()
        for _, listing in sorted(done, key=itemgetter(0)):
            whole.add(listing)
        return whole

    def _start(self, span: Span) -> dict[str, str]:
        after = span.after and self._bucket.place.prefix + span.after
        return {"start-after": after}

    def _pages(self, queries: Sequence[dict[str, str]], spans: Sequence[Span]) -> list[_Part]:
        calls = [
            self._call(number, query, span)
            for number, (query, span) in enumerate(zip(queries, spans, strict=True))
        ]
        dispatcher = Dispatcher[_Part](self._bucket, self._context, self._patience)
        parts = {call.subject: part for call, part in dispatcher.run(calls)}
        return [parts[call.subject] for call in calls]

    def _call(self, number: int, query: dict[str, str], span: Span) -> Call[_Part]:
        bucket = self._bucket
        wanted = {
            **query,
            "encoding-type": "url",
            "list-type": "2",
            "prefix": bucket.place.prefix,
        }
        # In alphabetical order, as the signature wants it.
        text = "&".join(
            f"{name}={quote(value, safe='')}" for name, value in sorted(wanted.items()) if value
        )
        request = Request("ListObjectsV2", "GET", f"{bucket.base}/?{text}", bucket.guard_headers())

        def read(answer: Answer) -> _Part:
            check(answer, bucket, _ACTION)
            try:
                page = read_page(answer.body)
            except Unreadable as error:
                raise Again(str(error)) from error
            return _part(page, span, bucket.place)

        return Call(f"part {number + 1} of the list of {bucket.place.url}", lambda: request, read)


def _between(keys: Sequence[str]) -> list[Span]:
    """Return the spans between keys, before the first and behind the last; none for no order."""
    ends = ["", *keys]
    if not keys or not all(Span(one).begins(other) for one, other in pairwise(ends)):
        return []
    return [*(Span(one, other) for one, other in pairwise(ends)), Span(ends[-1])]


def _part(page: Page, span: Span, place: Place) -> _Part:
    """Return a page's files that lie in the span, with keys relative to the version."""
    listing = Listing()
    keys, ordered, before = [], True, b""
    for listed, size, etag in page.rows:
        key = relative_key(listed, place)
        keys.append(key)
        now = in_order(key)
        ordered = ordered and (before < now or not before)
        before = now
        if not span.holds(key):
            continue
        if size == 0 and (not key or key.endswith("/")):
            listing.markers += 1
        elif not key:
            raise EndpointFailed(
                f"{place} has an object named {place.prefix}, which is refused: "
                "it is a folder's name with content",
                fix=f"remove that object at the {place.role}",
            )
        else:
            listing.files.append(File(key, size, etag))
    sight = Sight(keys[0] if keys else "", "".join(keys))
    return _Part(listing, ordered, sight, keys[-1] if keys else "", page.more)
