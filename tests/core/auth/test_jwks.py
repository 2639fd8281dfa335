"""The key cache: freshness, storms, outages, rotation. The clock stands still or jumps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_core.auth.fetch import FetchFailed
from imgctl_core.auth.freshness import Freshness
from imgctl_core.auth.jwks import JwksCache
from imgctl_core.auth.keys import KeySet, UnknownKey
from imgctl_core.errors import InvalidSetting, IssuerUnreachable

if TYPE_CHECKING:
    from tests.core.auth.kit import Clock


class Issuer:
    """Stands for the fetch: what it gives next, and how often it was asked."""

    def __init__(self) -> None:
        self.count = 0
        self.kids: tuple[str, ...] = ("old",)
        self.error: Exception | None = None
        #: How many fetches fail first.
        self.failing = 0
        self.gate = threading.Event()
        self.gate.set()
        self._changed = threading.Condition()

    def __call__(self) -> KeySet:
        with self._changed:
            self.count += 1
            number = self.count
            self._changed.notify_all()
        assert self.gate.wait(30)
        if number <= self.failing:
            raise FetchFailed("down")
        if self.error is not None:
            raise self.error
        return KeySet({kid: {"kid": kid} for kid in self.kids})

    def reached(self, count: int) -> bool:
        """Wait until there were so many fetches."""
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, 20)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.gate.set()


@pytest.fixture
def new_cache(issuer: Issuer, clock: Clock) -> Iterator[Callable[..., JwksCache]]:
    made: list[JwksCache] = []

    def make(**settings: Any) -> JwksCache:
        defaults: dict[str, Any] = {"fetch": issuer, "clock": clock, "wait": 20}
        made.append(JwksCache("https://dex.example.com", **(defaults | settings)))
        return made[-1]

    yield make
    issuer.gate.set()
    for cache in made:
        cache.close()


@pytest.fixture
def cache(new_cache: Callable[..., JwksCache]) -> JwksCache:
    """A cache that has fetched its keys."""
    cache = new_cache()
    cache.key("old")
    return cache


def test_nothing_is_fetched_before_it_is_needed(
    new_cache: Callable[..., JwksCache], issuer: Issuer
) -> None:
    cache = new_cache()
    assert not cache.ready
    assert issuer.count == 0
    assert cache.key("old") == {"kid": "old"}
    assert cache.ready
    assert issuer.count == 1


def test_a_fresh_known_key_costs_nothing(cache: JwksCache, issuer: Issuer, clock: Clock) -> None:
    clock.advance(239)
    for _ in range(1000):
        cache.key("old")
    assert issuer.count == 1


def test_11_an_unknown_key_costs_a_fetch_and_then_none(
    cache: JwksCache, issuer: Issuer, clock: Clock
) -> None:
    clock.advance(30)
    for _ in range(10):
        with pytest.raises(UnknownKey):
            cache.key("nobody")
    assert issuer.count == 2


def test_11_no_fetch_within_the_cooldown(cache: JwksCache, issuer: Issuer, clock: Clock) -> None:
    clock.advance(29.9)
    with pytest.raises(UnknownKey):
        cache.key("nobody")
    assert issuer.count == 1


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_12_a_storm_of_unknown_keys_is_one_fetch(
    new_cache: Callable[..., JwksCache], issuer: Issuer, clock: Clock, warm: bool
) -> None:
    cache = new_cache()
    if warm:
        cache.key("old")
        clock.advance(31)
    before = issuer.count
    issuer.gate.clear()
    together = threading.Barrier(20)

    def attack(thread: int) -> int:
        together.wait(20)
        refused = 0
        for number in range(50):
            try:
                cache.key(f"k{thread}-{number}")
            except UnknownKey:
                refused += 1
        return refused

    with ThreadPoolExecutor(20) as pool:
        attacks = [pool.submit(attack, thread) for thread in range(20)]
        assert issuer.reached(before + 1)
        issuer.gate.set()
        assert sum(one.result(60) for one in attacks) == 1000
    assert issuer.count == before + 1


def test_59_a_new_key_is_found_at_once(cache: JwksCache, issuer: Issuer, clock: Clock) -> None:
    clock.advance(31)
    issuer.kids = ("old", "new")
    assert cache.key("new") == {"kid": "new"}
    assert issuer.count == 2


def test_60_a_key_taken_back_is_gone_after_five_minutes(
    cache: JwksCache, issuer: Issuer, clock: Clock
) -> None:
    issuer.kids = ("new",)
    clock.advance(300)
    with pytest.raises(UnknownKey):
        cache.key("old")
    assert cache.key("new") == {"kid": "new"}


def test_60_taking_all_keys_back_counts_too(
    cache: JwksCache, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imgctl")
    issuer.kids = ()
    clock.advance(300)
    with pytest.raises(IssuerUnreachable):
        cache.key("old")
    assert not cache.ready
    cache.close()
    # The fixture's own fetch may say its word late, in the cache's thread.
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "fetched the keys of https://dex.example.com: 0 usable"
    ]


def test_56_an_outage_is_survived_for_the_stale_window(
    cache: JwksCache, issuer: Issuer, clock: Clock
) -> None:
    issuer.error = FetchFailed("down")
    clock.advance(300)
    assert cache.key("old") == {"kid": "old"}
    with pytest.raises(UnknownKey):
        cache.key("nobody")
    clock.advance(3599)
    assert cache.key("old") == {"kid": "old"}
    assert cache.ready
    clock.advance(1)
    assert not cache.ready
    for kid in ("old", "nobody"):
        with pytest.raises(IssuerUnreachable) as down:
            cache.key(kid)
        assert "down" not in down.value.message, "the reason is the log's, not the caller's"


def test_56_without_a_stale_window_an_outage_counts_at_once(
    new_cache: Callable[..., JwksCache], issuer: Issuer, clock: Clock
) -> None:
    cache = new_cache(freshness=Freshness(stale=0))
    cache.key("old")
    issuer.error = FetchFailed("down")
    clock.advance(299)
    cache.key("old")
    clock.advance(1)
    with pytest.raises(IssuerUnreachable):
        cache.key("old")


def test_56_down_at_the_start_and_then_up(
    new_cache: Callable[..., JwksCache], issuer: Issuer, clock: Clock
) -> None:
    issuer.error = FetchFailed("down")
    cache = new_cache()
    for _ in range(3):
        with pytest.raises(IssuerUnreachable):
            cache.key("old")
    assert issuer.count == 1, "no more than one fetch per cool-down"
    assert not cache.ready
    issuer.error = None
    clock.advance(30)
    assert cache.key("old") == {"kid": "old"}
    assert cache.ready


def test_56_the_start_is_tried_again_without_being_asked(
    new_cache: Callable[..., JwksCache], issuer: Issuer
) -> None:
    issuer.failing = 3
    cache = new_cache(clock=time.monotonic, freshness=Freshness(poll=0.01))
    cache.start()
    cache.start()
    assert issuer.reached(4)
    assert cache.key("old") == {"kid": "old"}
    assert cache.ready
    assert issuer.count == 4


def test_keys_are_renewed_without_being_asked(
    new_cache: Callable[..., JwksCache], issuer: Issuer
) -> None:
    rules = Freshness(fresh=0.05, cooldown=0.01, poll=60)
    new_cache(clock=time.monotonic, freshness=rules).start()
    assert issuer.reached(4)


def test_57_anything_unexpected_keeps_the_old_keys_and_the_thread(
    cache: JwksCache, issuer: Issuer, clock: Clock
) -> None:
    issuer.error = RuntimeError("a bug")
    clock.advance(300)
    assert cache.key("old") == {"kid": "old"}
    issuer.error = None
    issuer.kids = ("new",)
    clock.advance(30)
    assert cache.key("new") == {"kid": "new"}
    assert issuer.count == 3


def test_nobody_waits_for_ever(new_cache: Callable[..., JwksCache], issuer: Issuer) -> None:
    issuer.gate.clear()
    cache = new_cache(wait=0.05)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(IssuerUnreachable):
            cache.key("old")
    assert time.monotonic() - began < 10
    assert issuer.count == 1, "who waits in vain does not fetch again"
    assert not issuer.gate.is_set()


def test_a_hanging_issuer_does_not_stop_known_keys(
    new_cache: Callable[..., JwksCache], issuer: Issuer, clock: Clock
) -> None:
    cache = new_cache(wait=1)
    cache.key("old")
    issuer.gate.clear()
    clock.advance(300)
    assert cache.key("old") == {"kid": "old"}
    assert issuer.reached(2)


def test_an_issuer_that_is_known_to_be_down_slows_nobody_whose_key_is_known(
    cache: JwksCache, issuer: Issuer, clock: Clock
) -> None:
    issuer.error = FetchFailed("down")
    clock.advance(300)
    cache.key("old")
    issuer.gate.clear()
    clock.advance(30)
    began = time.monotonic()
    for _ in range(10):
        assert cache.key("old") == {"kid": "old"}
    assert time.monotonic() - began < 10, "it waited for a fetch that hangs"
    assert issuer.reached(3), "it asked for one all the same"


def test_one_thread_is_enough(cache: JwksCache) -> None:
    def threads() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == "imgctl-jwks"}

    before = threads()
    cache.start()
    cache.key("old")
    assert threads() <= before, "no other thread was begun"


def test_closing_stops_the_thread_and_wakes_who_waits(
    new_cache: Callable[..., JwksCache], issuer: Issuer, clock: Clock
) -> None:
    issuer.gate.clear()
    cache = new_cache()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.key, "old")
        assert issuer.reached(1)
        closing = threading.Thread(target=cache.close)
        closing.start()
        with pytest.raises(IssuerUnreachable):
            waiting.result(10)
        assert not issuer.gate.is_set(), "who waits is woken although the fetch goes on"
        issuer.gate.set()
    closing.join(20)
    assert not [t for t in threading.enumerate() if t.name == "imgctl-jwks" and t.is_alive()]
    clock.advance(300)
    assert cache.key("old") == {"kid": "old"}, "what was fetched still counts for a while"
    assert issuer.count == 1


def test_counters(cache: JwksCache, issuer: Issuer, clock: Clock) -> None:
    first = cache.counters()
    assert (first.fetches, first.failures, first.age, first.keys) == (1, 0, 0.0, 1)
    issuer.error = FetchFailed("down")
    clock.advance(300)
    cache.key("old")
    clock.advance(30)
    with pytest.raises(UnknownKey):
        cache.key("nobody")
    second = cache.counters()
    assert (second.fetches, second.failures, second.failures_in_a_row) == (3, 2, 2)
    assert (second.age, second.last_error) == (330.0, "down")
    issuer.error = None
    clock.advance(30)
    with pytest.raises(UnknownKey):
        cache.key("nobody")
    third = cache.counters()
    assert (third.failures, third.failures_in_a_row, third.age) == (2, 0, 0.0)


def test_the_log_tells_of_changes_only(
    cache: JwksCache, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imgctl")

    def later(error: Exception | None, *kids: str) -> None:
        issuer.error, issuer.kids = error, kids
        clock.advance(300)
        with pytest.raises(UnknownKey):
            cache.key("nobody")

    later(None, "old")
    down = "https://dex.example.com: down"
    later(FetchFailed(down), "old")
    later(None, "old")
    later(None, "old", "new")
    cache.close()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"could not fetch the issuer's keys: {down} (the keys at hand: 300 s old)"),
        ("INFO", "fetched the keys of https://dex.example.com: 1 usable"),
        ("INFO", "fetched the keys of https://dex.example.com: 2 usable"),
    ]


def test_17_a_published_private_key_is_an_alarm(
    new_cache: Callable[..., JwksCache], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imgctl")
    found = KeySet({"good": {"kid": "good"}}, ("private", *["use"] * 1000))
    cache = new_cache(fetch=lambda: found)
    assert cache.key("good") == {"kid": "good"}
    cache.close()
    levels = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("WARNING", "keys left out, and why: private, use (1000 times)") in levels
    assert (
        "ERROR",
        "https://dex.example.com publishes a private key: whoever reads it can sign",
    ) in levels
    assert cache.counters().skipped[:2] == ("private", "use")


def test_an_issuer_in_clear_is_refused() -> None:
    with pytest.raises(InvalidSetting):
        JwksCache("http://dex.example.com")
