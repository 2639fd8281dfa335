"""20,000 bad tokens through a real channel: none is accepted, nothing breaks.

What gRPC's client can't send is tried at the verifier itself (`test_tokens.py`) and by a raw
client (`test_attack_headers.py`).
"""

from __future__ import annotations

import random
import string
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.core.auth.kit import VERIFIERS

if TYPE_CHECKING:
    from tests.core.auth.door import Answer, Door
    from tests.core.auth.kit import Kit

#: In all, in so many parts, each in threads that share one channel; a good one after every 500.
COUNT, PARTS, THREADS, GOOD_AFTER = 20_000, 8, 4, 500

#: Headers past this are refused by gRPC itself, which is a limit and no verdict.
CAP = 32 * 1024

_BASE64 = string.ascii_letters + string.digits + "-_"
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def every_byte(token: str, part: int) -> Iterator[str]:
    """Yield the token with each byte of a part changed in turn: by one bit, and to any other."""
    for at, letter in list(enumerate(token))[part::PARTS]:
        for other in (chr(ord(letter) ^ 1), random.choice(_BASE64)):
            if other != letter and other in _VISIBLE:
                yield token[:at] + other + token[at + 1 :]


def mutated(token: str) -> str:
    """Return the token with something small changed somewhere."""
    at, letter = random.randrange(len(token)), random.choice(_VISIBLE)
    end = min(len(token), at + random.randrange(1, 60))
    return random.choice(
        (
            token[:at] + letter + token[at + 1 :],
            token[:at] + letter + token[at:],
            token[:at] + token[at + 1 :],
            token[:at] + token[end:],
            token[:at] + token[at:end][::-1] + token[end:],
            token[:at] + token[at:end] * 2 + token[end:],
            token[:at],
            token[at:],
            token.swapcase(),
            ".".join(random.sample(token.split("."), 3)),
        )
    )


def far_too_long() -> str:
    return "A" * random.randrange(CAP + 1, 4 * CAP)


def made_up() -> str:
    """Return a token of nothing but chance, sometimes far too long for a header."""
    if random.random() < 0.01:
        return far_too_long()
    segments = random.choice((0, 1, 2, 3, 3, 3, 4, 5))
    alphabet = random.choice((_BASE64, _BASE64, _VISIBLE)).encode()
    letters = bytes(alphabet[byte % len(alphabet)] for byte in range(256))
    sizes = [random.choice((0, 1, 40, 300, 2000)) for _ in range(segments)]
    return ".".join(random.randbytes(size).translate(letters).decode() for size in sizes)


def spliced(one: str, other: str) -> str:
    """Return a token of the segments of two good ones, never all of one's."""
    pairs = list(zip(one.split("."), other.split("."), strict=True))
    while True:
        chosen = [random.choice(pair) for pair in pairs]
        token = ".".join(chosen)
        # The header of two tokens by one key is the same.
        if token not in (one, other):
            return token


def bad_tokens(good: str, another: str, part: int) -> Iterator[str]:
    """Yield bad tokens for ever: bytes changed in turn first, then whatever chance says."""
    yield from every_byte(good, part)
    yield from (far_too_long(), far_too_long())
    while True:
        token = random.choice((lambda: mutated(good), made_up, lambda: spliced(good, another)))()
        if token.strip() not in (good, another):
            yield token


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("library", [name for name in VERIFIERS if name != "joserfc"])
def test_no_changed_or_random_token_is_ever_accepted(
    door: Door, kit: Kit, library: str, part: int
) -> None:
    """joserfc's verifier is the tests' own, and guards no door."""
    door.use(kit.verifier(library))
    good, another = kit.by_the_book(), kit.by_the_book(groups=["promoters"], name="bob")
    source, count = bad_tokens(good, another, part), COUNT // PARTS
    rubbish = door.knock("rubbish")
    tokens = [next(source) for _ in range(count)]
    rounds = [tokens[at : at + GOOD_AFTER] for at in range(0, count, GOOD_AFTER)]

    def verdict(token: str) -> tuple[grpc.StatusCode, bool]:
        answer: Answer = door.knock(token)
        if answer.code is UNAUTHENTICATED:
            assert answer == rubbish, "one answer for all"
        elif answer.code is not EXHAUSTED or len(token) < CAP - 1024:
            pytest.fail(f"{answer} for {token!r}")
        return answer.code, len(token) > CAP

    found: Counter[tuple[grpc.StatusCode, bool]] = Counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for some in rounds:
            found.update(pool.map(verdict, some, chunksize=25))
            assert door.knock(good).name == "alice"
    assert found.total() == count
    # Both sides of the size cap were tried, and past it the answer was always the limit.
    assert found[EXHAUSTED, True] >= 2
    assert found[UNAUTHENTICATED, True] == 0
    assert found[UNAUTHENTICATED, False] > count * 0.9
