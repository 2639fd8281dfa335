"""When keys count, and when they are fetched: pure arithmetic."""

from __future__ import annotations

import pytest

from imgctl_core.auth.freshness import Freshness

RULES = Freshness()


def test_the_rules_as_documented() -> None:
    assert Freshness(fresh=300, stale=3600, cooldown=30, poll=10) == RULES


@pytest.mark.parametrize(
    ("age", "fresh", "usable"),
    [
        (0, True, True),
        (299.9, True, True),
        (300, False, True),
        (3899.9, False, True),
        (3900, False, False),
    ],
)
def test_age(age: float, fresh: bool, usable: bool) -> None:
    assert RULES.is_fresh(50, 50 + age) is fresh
    assert RULES.is_usable(50, 50 + age) is usable


def test_strict_keys_are_never_stale() -> None:
    strict = Freshness(stale=0)
    assert strict.is_usable(50, 349.9)
    assert not strict.is_usable(50, 350)


def test_who_asks_waits_for_the_cooldown() -> None:
    assert RULES.may_fetch(None, 0)
    assert not RULES.may_fetch(50, 79.9)
    assert RULES.may_fetch(50, 80)


@pytest.mark.parametrize(
    ("fetched", "attempted", "now", "due"),
    [
        (None, None, 7, 7),
        (None, 50, 51, 60),
        (50, 50, 51, 290),
        (50, 290, 300, 320),
        (50, 3940, 3951, 3950),
    ],
    ids=["at once", "none yet", "before they age", "after a failure", "too old"],
)
def test_next_fetch(fetched: float | None, attempted: float | None, now: float, due: float) -> None:
    assert RULES.next_fetch(fetched, attempted, now) == due
