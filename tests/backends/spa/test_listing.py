"""Listing: page after page, in spans when there are many, and servers that lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.reading import listing
from imgctl_backends.spa.reading.listing import Listing, list_version
from imgctl_backends.spa.reading.spans import Sight, Span, cut, in_order
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_core import Context
from imgctl_core.errors import EndpointFailed

NAMES = {
    "counted": [f"assets/chunk-{number:06}.js" for number in range(900)],
    "hashed": [f"assets/{hashlib.sha256(b'%d' % n).hexdigest()}.js" for n in range(900)],
    "folders": [f"page/{n % 37}/{'ab'[n % 2]}/{n}.html" for n in range(900)],
    "odd": [f"é/{n}/日本" for n in range(300)] + [f"\U0001f600{n}~ +%" for n in range(300)],
    "one letter": ["a" * n for n in range(1, 400)],
}


@pytest.fixture
def source(stub: Any, bench: Any) -> Callable[[list[str]], Bucket]:
    """Return a function that fills the source and opens it. Pages have ten keys."""

    def fill(names: list[str]) -> Bucket:
        stub.page_size = 10
        for name in names:
            stub.put("shop-dev", f"v1/{name}", name.encode())
        stub.put("shop-dev", "v1.1/other.js", b"another version")
        bucket: Bucket = bench.promoter._open(bench.item(), Context())[0]
        stub.asked.clear()
        return bucket

    return fill


def keys(found: Listing) -> list[str]:
    return [file.key for file in found.files]


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_many_keys_are_listed_in_spans(
    names: list[str], stub: Any, source: Any, hasty: Any
) -> None:
    bucket = source([*names, "folder/"])
    stub.put("shop-dev", "v1/folder/", b"")
    found = list_version(bucket, Context(), hasty)
    assert keys(found) == sorted(names, key=in_order)
    assert found.markers == 1
    assert any("start-after" in asked.query for asked in stub.asked)
    # Cuts are guesses: wrong ones must stay few.
    assert len(stub.asked) < 4 * len(names) / 10


def test_few_keys_take_no_spans(stub: Any, source: Any, hasty: Any) -> None:
    names = [f"{number:03}.js" for number in range(95)]
    assert keys(list_version(source(names), Context(), hasty)) == names
    assert len(stub.asked) == 10
    assert not any("start-after" in asked.query for asked in stub.asked)


@pytest.mark.parametrize("lie", ["ignores start-after", "orders by letters"])
def test_servers_with_an_order_of_their_own(
    lie: str, stub: Any, source: Any, hasty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{'aB'[number % 2]}{number:04}.js" for number in range(300)]
    bucket = source(names)
    plain = stub._list

    def ignores(asked: Any) -> Any:
        asked.query.pop("start-after", None)
        return plain(asked)

    if lie == "ignores start-after":
        monkeypatch.setattr(stub, "_list", ignores)
    else:
        stub.order = str.lower
    assert sorted(keys(list_version(bucket, Context(), hasty))) == sorted(names)


def test_a_server_that_lists_in_circles(stub: Any, source: Any, hasty: Any, reply: Any) -> None:
    bucket = source(["a.js"])
    stub.faults.append(
        lambda _: reply(
            body=b"<ListBucketResult><IsTruncated>true</IsTruncated>"
            b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
        )
    )
    with pytest.raises(EndpointFailed, match="in circles"):
        list_version(bucket, Context(), hasty)


def test_a_page_in_the_middle_that_fails_is_asked_for_again(
    stub: Any, source: Any, hasty: Any, fail: Any
) -> None:
    bucket = source(NAMES["hashed"])
    failed: list[Any] = []

    def once(asked: Any) -> Any:
        if "start-after" in asked.query and len(failed) < 3:
            failed.append(asked)
            return fail(503, "SlowDown")
        return None

    stub.faults.append(once)
    assert keys(list_version(bucket, Context(), hasty)) == sorted(NAMES["hashed"])
    assert len(failed) == 3


def test_where_keys_are_expected_one_round_is_enough(
    stub: Any, source: Any, hasty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_EXPECTED", 9)
    names = sorted(NAMES["hashed"])
    bucket = source([*names, "0unexpected", "zz/unexpected"])
    expected = [File(name, 1, "t") for name in names if name != names[500]]
    found = list_version(bucket, Context(), hasty, expected)
    assert keys(found) == ["0unexpected", *names, "zz/unexpected"]
    assert len(stub.asked) <= 102  # the two that nobody expected cost one more each
    assert not any("continuation-token" in asked.query for asked in stub.asked)


def test_expectations_may_be_wrong_and_out_of_order(
    stub: Any, source: Any, hasty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_EXPECTED", 9)
    names = sorted(NAMES["hashed"])
    bucket = source(names)
    for expected in (reversed(names), ["x"] * 50, [f"{n}/gone" for n in range(10, 60)]):
        files = [File(name, 1, "t") for name in expected]
        assert keys(list_version(bucket, Context(), hasty, files)) == names


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)


@given(KEYS, KEYS, st.none() | KEYS, st.integers(1, 16))
@settings(max_examples=300, deadline=None)
def test_pieces_are_the_whole(first: str, last: str, until: str | None, most: int) -> None:
    span = Span(last, until)
    if until is not None and not span.begins(until):
        return
    pieces = cut(span, Sight(first, first + last), most)
    assert 1 <= len(pieces) <= most
    assert (pieces[0].after, pieces[-1].until) == (span.after, span.until)
    for one, other in pairwise(pieces):
        assert one.until == other.after
        assert one.begins(other.after)
