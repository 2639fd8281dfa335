"""The rows of the attack table about the issuer, through the server's door, by their number."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import grpc
import pytest

from imgctl_core.auth.jwks import JwksCache
from tests.core.auth.conftest import Reply
from tests.core.auth.kit import VERIFIERS

if TYPE_CHECKING:
    from tests.core.auth.conftest import Origin
    from tests.core.auth.door import Answer, Door
    from tests.core.auth.kit import Clock, Kit, Signer

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@dataclass
class House:
    """A server whose keys come from an issuer on the loopback, by a clock that stands still."""

    door: Door
    kit: Kit
    origin: Origin
    cache: JwksCache
    clock: Clock

    def token(self, signer: Signer | None = None) -> str:
        return self.kit.token(signer, iss=self.origin.url)

    def knock(self, signer: Signer | None = None) -> Answer:
        # Health asks the cache, as a server does that was put together from settings.
        self.door.ready = self.cache.ready
        answer = self.door.knock(self.token(signer))
        self.door.ready = self.cache.ready
        return answer

    def fetches(self) -> int:
        return self.origin.requests.count("GET /keys")


@pytest.fixture(params=VERIFIERS)
def house(
    door: Door, kit: Kit, origin: Origin, clock: Clock, request: pytest.FixtureRequest
) -> Iterator[House]:
    origin.publish(kit.rsa.jwk())
    cache = JwksCache(origin.url, clock=clock, wait=20, timeout=5)
    door.use(kit.verifier(request.param, issuer=origin.url, keys=cache))
    yield House(door, kit, origin, cache, clock)
    cache.close()


def test_12_a_storm_of_unknown_keys_is_one_fetch(house: House) -> None:
    """1,000 calls from 20 threads, each with a key id of its own, and the good one beside."""
    assert house.knock().name == "alice"
    house.clock.advance(31)
    before = house.fetches()
    rubbish = house.door.knock("rubbish")
    tokens = [house.token(replace(house.kit.other, kid=f"k{n}")) for n in range(1000)]
    begin = threading.Barrier(20)

    def attack(number: int) -> Counter[bool]:
        begin.wait(20)
        return Counter(house.door.knock(one) == rubbish for one in tokens[number::20])

    with ThreadPoolExecutor(20) as pool:
        found = sum(pool.map(attack, range(20)), Counter[bool]())
    assert found == {True: 1000}
    assert house.fetches() - before == 1
    assert house.knock().name == "alice"


def test_56_down_at_the_start_then_up_then_down_again(house: House) -> None:
    good = dict(house.origin.replies)
    house.origin.replies.clear()
    answer = house.knock()
    assert answer.code is UNAVAILABLE
    assert house.origin.url not in answer.details
    assert not house.door.healthy()
    # Rubbish costs no key, so it hears the same as ever.
    assert house.door.knock("rubbish").code is UNAUTHENTICATED
    house.origin.replies.update(good)
    house.clock.advance(31)
    assert house.knock().name == "alice"
    assert house.door.healthy()
    house.origin.replies.clear()
    # Fresh for five minutes, and an hour more while the issuer is down.
    for minutes in (4, 30, 30):
        house.clock.advance(60 * minutes)
        assert house.knock().name == "alice"
        assert house.door.healthy()
    unknown = house.knock(replace(house.kit.other, kid="new"))
    assert unknown.code is UNAUTHENTICATED
    house.clock.advance(60 * 60)
    assert house.knock().code is UNAVAILABLE
    assert not house.door.healthy()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500),
        Reply(b"<html>"),
        Reply(b"{}"),
        Reply(b'{"keys": []}'),
        Reply(b" " * (10 << 20)),
        Reply(status=302, headers={"Location": "/keys"}),
        Reply(b"[" * 100_000),
    ],
    ids=["500", "html", "empty", "no-keys", "10-MB", "redirect", "nested"],
)
def test_57_a_bad_answer_keeps_the_old_keys(house: House, reply: Reply) -> None:
    assert house.knock().name == "alice"
    house.origin.replies["/keys"] = reply
    house.clock.advance(301)
    assert house.knock().name == "alice"
    assert house.cache.counters().failures == 1
    assert house.door.healthy()


def test_58_keys_of_another_origin_are_never_used(house: House) -> None:
    foreign = "http://127.0.0.1:9/keys"
    house.origin.publish(house.kit.rsa.jwk(), jwks_uri=foreign)
    assert house.knock().code is UNAVAILABLE
    assert house.fetches() == 0
    house.origin.publish(house.kit.rsa.jwk(), issuer=house.origin.url + "/")
    house.clock.advance(31)
    assert house.knock().code is UNAVAILABLE
    assert house.fetches() == 0


def test_59_a_key_that_was_just_rotated_is_found_at_once(house: House) -> None:
    assert house.knock().name == "alice"
    new = replace(house.kit.other, kid="new")
    house.origin.publish(house.kit.rsa.jwk(), new.jwk())
    house.clock.advance(31)
    assert house.knock(new).name == "alice"
    assert house.fetches() == 2
    # Within the cool-down of a fetch a still newer one has to wait.
    newest = replace(house.kit.other, kid="newest")
    house.origin.publish(new.jwk(), newest.jwk())
    assert house.knock(newest).code is UNAUTHENTICATED
    house.clock.advance(30)
    assert house.knock(newest).name == "alice"


def test_60_a_key_that_was_taken_back_is_refused_within_five_minutes(house: House) -> None:
    assert house.knock().name == "alice"
    house.origin.publish(house.kit.ec.jwk())
    house.clock.advance(300)
    assert house.knock().code is UNAUTHENTICATED
    assert house.knock(house.kit.ec).name == "alice"


def test_63_a_token_that_the_issuer_made_for_another_client(house: House) -> None:
    token = house.kit.token(iss=house.origin.url, aud="another-client")
    assert house.door.knock(token) == house.door.knock("rubbish")
    assert house.fetches() == 0
