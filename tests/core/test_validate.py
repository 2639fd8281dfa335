"""What may stand in a request, and what is seen of other people's text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imgctl_core import validate
from imgctl_core.errors import InvalidReference, RequestError
from imgctl_core.models import ActivationRequest, PromotionRequest
from imgctl_core.text import is_plain, one_line

GOOD = PromotionRequest(("app:v1", "spa:shop:1.4.2"), "prod", "dev", request_id="a-B_9")

#: Texts that look like `prod`, or like nothing, and are not.
TRICKS = {
    "newline": "prod\n",
    "carriage return": "dev\rprod",
    "escape": "\x1b[2Jprod",
    "C1 escape": "\x9b2Jprod",
    "nul": "prod\0",
    "delete": "prox\x7fd",
    "bidi override": "\u202edorp",
    "bidi isolate": "pr\u2066od",
    "arabic letter mark": "pr\u061cod",
    "zero width space": "pr\u200bod",
    "zero width joiner": "pr\u200dod",
    "word joiner": "pr\u2060od",
    "byte order mark": "\ufeffprod",
    "soft hyphen": "pr\u00adod",
    "mongolian separator": "pr\u180eod",
    "hangul filler": "pr\u3164od",
    "halfwidth filler": "pr\uffa0od",
    "braille blank": "pr\u2800od",
    "grapheme joiner": "pr\u034fod",
    "variation selector": "pr\ufe0fod",
    "ideographic selector": "pr\U000e0101od",
    "tag": "pr\U000e0061od",
    "no-break space": "pr\u00a0od",
    "line separator": "prod\u2028",
    "interlinear annotation": "pr\ufff9od",
    "lone surrogate": "pr\udcffod",
    "private use": "pr\ue000od",
    "unassigned": "pr\U000e1000od",
}


@pytest.mark.parametrize("text", TRICKS.values(), ids=TRICKS)
def test_no_field_takes_what_can_not_be_seen(text: str) -> None:
    for fields in (
        {"refs": (text,)},
        {"destination": text},
        {"source": text},
        {"request_id": text},
        {"options": {"name": text}},
        {"options": {text: "value"}},
    ):
        with pytest.raises(RequestError) as caught:
            validate.promotion(replace(GOOD, **fields))
        assert is_plain(caught.value.message + caught.value.fix)
    for fields in ({"ref": text}, {"environment": text}, {"request_id": text}):
        request: dict[str, Any] = {"ref": "spa:shop:1", "environment": "prod", **fields}
        with pytest.raises(RequestError):
            validate.activation(ActivationRequest(**request))


@pytest.mark.parametrize("text", TRICKS.values(), ids=TRICKS)
def test_what_can_not_be_seen_is_shown_as_such(text: str) -> None:
    shown = one_line(text)
    assert is_plain(shown)
    assert shown not in ("prod", "devprod", "dorp")
    assert len(shown) == len(text)


@pytest.mark.parametrize("text", ["app:v1", "größe:1", "日本:1", "e\u0301:1", "a b"])
def test_what_can_be_seen_is_left_to_the_kinds(text: str) -> None:
    assert validate.promotion(replace(GOOD, refs=(text,))).refs == (text,)
    assert one_line(text) == text


def test_good_requests_come_back_as_they_are() -> None:
    assert validate.promotion(GOOD) is GOOD
    asked = ActivationRequest("spa:shop", "prod", previous=True)
    assert validate.activation(asked) is asked


@pytest.mark.parametrize("text", ["", " ", "\t", "\u3000"])
def test_nothing_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidReference, match="empty"):
        validate.reference(text, like="note:a")


def test_a_long_reference_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidReference) as caught:
        validate.reference("a\n" + "b" * 1000)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("most", "too_much"),
    [
        ({"refs": ("a" * 1024,)}, {"refs": ("a" * 1025,)}),
        ({"refs": ("a:1",) * 100}, {"refs": ("a:1",) * 101}),
        ({"destination": "a" * 128}, {"destination": "a" * 129}),
        ({"source": "a" * 128}, {"source": "a" * 129}),
        ({"request_id": "a" * 64}, {"request_id": "a" * 65}),
        (
            {"options": {f"o{n}": "" for n in range(20)}},
            {"options": {f"o{n}": "" for n in range(21)}},
        ),
        ({"options": {"o" * 32: "a" * 128}}, {"options": {"o" * 33: ""}}),
        ({"options": {"o": ""}}, {"options": {"o": "a" * 129}}),
    ],
)
def test_everything_has_a_longest(most: dict[str, Any], too_much: dict[str, Any]) -> None:
    whole = replace(GOOD, **most)
    assert validate.promotion(whole) is whole
    with pytest.raises(RequestError) as caught:
        validate.promotion(replace(GOOD, **too_much))
    assert len(caught.value.message) < 200
