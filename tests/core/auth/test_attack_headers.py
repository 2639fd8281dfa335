"""The rows of the attack table about the header that a token comes in, by the row's number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.core.auth.rawclient import raw_call

if TYPE_CHECKING:
    from tests.core.auth.door import Door
    from tests.core.auth.kit import Kit

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("kilobytes", [33, 40, 100, 1000])
def test_50_past_the_size_cap_the_answer_is_always_exhausted(
    door: Door, kit: Kit, kilobytes: int
) -> None:
    for _ in range(5):
        answer = door.knock("A" * kilobytes * 1024)
        assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert door.knock(kit.token()).name == "alice"


@pytest.mark.parametrize("size", [8193, 9 * 1024, 12 * 1024, 16 * 1024, 31 * 1024])
def test_50_below_it_a_token_past_our_own_cap_is_always_a_bad_token(door: Door, size: int) -> None:
    """gRPC refuses at random between its two limits on headers; ours are one."""
    rubbish = door.knock("rubbish")
    assert all(door.knock("A" * size) == rubbish for _ in range(50))


@pytest.mark.parametrize(
    "values",
    [
        ("Bearer {}", "Bearer {}"),
        ("Bearer {}", "Bearer rubbish"),
        ("Bearer rubbish", "Bearer {}"),
        ("Bearer {}", ""),
        ("Bearer {}, Bearer {}",),
        ("Bearer {},",),
        ("Bearer {} {}",),
    ],
)
def test_51_one_token_and_no_more(door: Door, kit: Kit, values: tuple[str, ...]) -> None:
    token = kit.token()
    metadata: list[tuple[str, Any]] = [
        ("authorization", value.replace("{}", token)) for value in values
    ]
    assert door.call(metadata) == door.knock("rubbish")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEARER"])
def test_52_the_scheme_has_no_case(door: Door, kit: Kit, scheme: str) -> None:
    assert door.knock(kit.token(), f"{scheme} ").name == "alice"


@pytest.mark.parametrize(
    "scheme", ["", "Basic ", "Bearer  ", "Bearer:", "Token ", "Bearer", "DPoP "]
)
def test_53_nothing_but_one_scheme_and_one_space(door: Door, kit: Kit, scheme: str) -> None:
    assert door.knock(kit.token(), scheme) == door.knock("rubbish")


@pytest.mark.parametrize("metadata", [[], [("authorization", "")], [("authorization", "Bearer ")]])
def test_53_no_token_at_all(door: Door, metadata: list[tuple[str, Any]]) -> None:
    assert door.call(metadata) == door.knock("rubbish")


@pytest.mark.parametrize("name", ["authorization-bin", "x-authorization", "proxy-authorization"])
def test_54_no_other_header_counts(door: Door, kit: Kit, name: str) -> None:
    value: str | bytes = f"Bearer {kit.token()}"
    if name.endswith("-bin"):
        value = f"Bearer {kit.token()}".encode()
    assert door.call([(name, value)]) == door.knock("rubbish")
    # Nor does it harm the one that counts.
    assert door.call([(name, value), ("authorization", f"Bearer {kit.token()}")]).name == "alice"


def test_55_the_raw_client_gets_in_with_a_good_token(door: Door, kit: Kit) -> None:
    assert raw_call(door.address, b"Bearer " + kit.token().encode()) == (0, b"")


@pytest.mark.parametrize(
    "change",
    [
        lambda good: good + b"\xff",
        lambda good: good + "é".encode(),
        lambda good: good.replace(b".", "．".encode(), 1),
        lambda good: good + b"\r\n",
        lambda good: good + b"\nx: y",
        lambda good: good + b"\0",
        lambda good: b"\0" + good,
        lambda good: good.replace(b" ", b"\xc2\xa0"),
        lambda good: good.replace(b" ", b"\t"),
        lambda good: good + b"\n" * 4,
        lambda good: good + b"\x7f",
        lambda good: b"\xed\xa0\x80" + good,
    ],
)
def test_55_bytes_that_no_good_client_sends(door: Door, kit: Kit, change: Any) -> None:
    good = b"Bearer " + kit.token().encode()
    found = raw_call(door.address, change(good))
    # gRPC's own parser may have reset the stream before any of our code ran.
    assert found is None or found[0] == UNAUTHENTICATED.value[0]
    assert found is None or door.knock("rubbish").details.encode() in found[1]
    assert raw_call(door.address, good) == (0, b"")
