"""The key cache and the verifier together, with an issuer on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from imgctl_core.auth.jwks import JwksCache
from imgctl_core.auth.keys import UnknownKey
from imgctl_core.errors import TokenRefused

if TYPE_CHECKING:
    from tests.core.auth.conftest import Origin
    from tests.core.auth.kit import Clock, Kit


@pytest.fixture
def cache(origin: Origin, clock: Clock, kit: Kit) -> Iterator[JwksCache]:
    origin.publish(kit.rsa.jwk(), kit.ec.jwk())
    cache = JwksCache(origin.url, clock=clock, wait=20, timeout=5)
    yield cache
    cache.close()


def test_from_the_issuer_to_the_actor(cache: JwksCache, origin: Origin, kit: Kit) -> None:
    verifier = kit.verifier(issuer=origin.url, keys=cache)
    for signer in (kit.rsa, kit.ec):
        assert verifier.verify(kit.token(signer, iss=origin.url)).name == "alice"
    with pytest.raises(TokenRefused):
        verifier.verify(kit.token(kit.other, iss=origin.url))
    assert origin.requests == ["GET /.well-known/openid-configuration", "GET /keys"]


def test_8_an_oct_key_in_the_set(cache: JwksCache, origin: Origin, kit: Kit) -> None:
    origin.publish({"kty": "oct", "kid": "bad", "k": "AAAA"}, kit.rsa.jwk())
    verifier = kit.verifier(issuer=origin.url, keys=cache)
    with pytest.raises(TokenRefused):
        verifier.verify(kit.token(header={"kid": "bad"}, iss=origin.url))
    assert verifier.verify(kit.token(iss=origin.url)).name == "alice"


@pytest.mark.parametrize("status", [500, 302])
def test_57_a_bad_answer_keeps_the_old_keys(
    cache: JwksCache, origin: Origin, clock: Clock, status: int
) -> None:
    cache.key("rsa")
    origin.replies["/keys"].status = status
    clock.advance(300)
    assert cache.key("rsa")["kid"] == "rsa"
    assert cache.counters().failures == 1
    assert f"status {status}" in cache.counters().last_error


def test_12_a_storm_is_one_fetch(cache: JwksCache, origin: Origin, clock: Clock) -> None:
    cache.key("rsa")
    clock.advance(31)

    def attack(number: int) -> bool:
        try:
            cache.key(f"k{number}")
        except UnknownKey:
            return True
        return False

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(attack, range(1000)))
    assert origin.requests.count("GET /keys") == 2
