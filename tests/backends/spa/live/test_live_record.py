"""What an environment remembers, and what of it is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgctl_backends.spa.live.record import (
    Record,
    Unreadable,
    Version,
    from_json,
    from_row,
    to_json,
    to_row,
)

ONE, TWO, THREE = (Version(f"v{n}", f"sha256:{n * 64}") for n in "123")


def test_a_record_comes_back_from_the_object_and_from_a_plan() -> None:
    for record in (
        Record(),
        Record(pending=ONE),
        Record().done(ONE),
        Record().done(ONE).done(TWO).begun(THREE),
    ):
        assert from_json(to_json(record)) == record
        assert from_row(json.loads(json.dumps(to_row(record)))) == record


def test_the_object_is_what_the_page_says() -> None:
    content = json.loads(to_json(Record().done(ONE).done(TWO)))
    assert content.pop("activated_at").endswith("+00:00")
    assert content == {
        "schema_version": 1,
        "version": "v2",
        "prefix": "v2/",
        "digest": TWO.digest,
        "previous": {"version": "v1", "prefix": "v1/", "digest": ONE.digest},
    }


def test_the_way_back() -> None:
    record = Record()
    assert record.back is None
    record = record.done(ONE)
    assert record.back is None
    record = record.done(TWO)
    assert record.back == ONE
    assert record.done(TWO).back == ONE, "once more is no step"
    assert record.done(Version("v2", ONE.digest)).back == ONE, "neither is another content"
    assert record.done(ONE).back == TWO, "back and forth"


def test_while_one_is_pending_back_means_the_last_that_ended() -> None:
    record = Record().done(ONE).done(TWO)
    assert record.begun(THREE).back == TWO
    assert record.begun(TWO).back == ONE, "what is made live again is no other version"
    assert Record().begun(ONE).back is None


GOOD: dict[str, Any] = json.loads(to_json(Record().done(ONE).done(TWO)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1",
        "[]",
        "[" * 100_000,
        json.dumps({"version": "v1"}),
        json.dumps({**GOOD, "schema_version": 2}),
        json.dumps({**GOOD, "version": "../v1"}),
        json.dumps({**GOOD, "version": 1}),
        json.dumps({**GOOD, "digest": "sha256:1"}),
        json.dumps({**GOOD, "previous": "v1"}),
        json.dumps({**GOOD, "previous": {"version": "a/b", "digest": ONE.digest}}),
        json.dumps({**GOOD, "pending": []}),
        json.dumps({**GOOD, "activated_at": 0}),
    ],
)
def test_what_imgctl_did_not_write(text: str) -> None:
    with pytest.raises(Unreadable):
        from_json(text.encode())


@pytest.mark.parametrize("row", [None, [], [None, None, None], [1, None, None, ""], ["v1"] * 4])
def test_a_plan_that_was_tampered_with(row: Any) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        from_row(row)
