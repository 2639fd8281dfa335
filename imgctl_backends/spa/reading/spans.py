"""Spans of keys, and where to cut them without knowing which keys there are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Characters that count before and behind the first one that differs on a page.
_BEFORE: Final = 4
_BEHIND: Final = 4


@dataclass(frozen=True, slots=True)
class Span:
    """All keys after `after`, up to and with `until`; without end when that is None.

    "After" is meant as S3 does: in the order of their UTF-8 bytes.
    """

    after: str
    until: str | None = None

    def begins(self, key: str) -> bool:
        """Return whether a key lies behind the span's beginning."""
        return in_order(key) > in_order(self.after)

    def holds(self, key: str) -> bool:
        return self.until is None or in_order(key) <= in_order(self.until)


def in_order(key: str) -> bytes:
    """Return what keys are ordered by in S3: their UTF-8 bytes."""
    return key.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Sight:
    """What the page just before a span showed: its first key, and the characters of its keys."""

    first: str
    chars: str


def cut_all(spans: Sequence[tuple[Span, Sight]], most: int) -> list[Span]:
    """Cut spans into `most` in all."""
    pieces = []
    for number, (span, sight) in enumerate(spans):
        share = most // len(spans) + (number < most % len(spans))
        pieces += cut(span, sight, max(1, share))
    return pieces


def cut(span: Span, sight: Sight, most: int) -> list[Span]:
    """Cut a span into at most so many pieces.

    If keys go on as densely as on the page before it, the pieces hold one page, one more,
    two, four and so on: few calls when little is left, and a long way when much is.
    """
    first, last = sight.first, span.after
    same = next(
        (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    start = max(0, same - _BEFORE)
    scale = _Scale(sorted(set(sight.chars)), start, same - start + _BEHIND)
    here = scale.number(last)
    step = max(1, here - scale.number(first))
    pieces, after = [], last
    for piece in range(most - 1):
        ending = scale.text(here + step * 2**piece)
        if ending is None:
            break
        until = last[:start] + ending
        if not Span(after).begins(until):
            continue
        if not span.holds(until) or until == span.until:
            break
        pieces.append(Span(after, until))
        after = until
    return [*pieces, Span(after, span.until)]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Some characters of keys, read as the digits of a number."""

    digits: Sequence[str]
    start: int
    width: int

    def number(self, key: str) -> int:
        total = 0
        for place in range(self.start, self.start + self.width):
            digit = bisect_left(self.digits, key[place]) if place < len(key) else 0
            total = total * len(self.digits) + min(digit, len(self.digits) - 1)
        return total

    def text(self, number: int) -> str | None:
        """Return the digits of a number, None when it has more than are read."""
        chars = []
        for _ in range(self.width):
            number, digit = divmod(number, len(self.digits))
            chars.append(self.digits[digit])
        return None if number else "".join(reversed(chars))
