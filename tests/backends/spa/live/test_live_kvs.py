"""Going live by a key that functions at the edge read."""

from __future__ import annotations

from typing import Any

import pytest

from imgctl_core import Context
from imgctl_core.errors import (
    ArtifactNotFound,
    Conflict,
    EndpointDenied,
    EndpointFailed,
    EndpointNotFound,
    EndpointUnreachable,
)

ARN = "arn:aws:cloudfront::111122223333:key-value-store/a1b2c3d4"


@pytest.fixture
def bench(stub: Any, kvs: Any, live_bench: Any, seed: Any) -> Any:
    seed("v1", "v2", "v3")
    return live_bench(stub.url, "cloudfront-kvs", kvs_arn=ARN)


def test_both_keys_change_in_one_write(bench: Any, kvs: Any) -> None:
    bench.activate("v1")
    assert kvs.values == {"live": "v1"}
    two = bench.activate("v2")
    assert kvs.values == {"live": "v2", "live.previous": "v1"}
    assert [asked for asked in kvs.asked if asked[0] == "POST"] == [
        ("POST", "", "E1"),
        ("POST", "", "E2"),
    ]
    assert bench.plan("v2").unchanged
    assert bench.plan("v1").current == two.digest
    for version in ("v1", "v2"):
        assert bench.activate().item.ref.version == version
        assert kvs.values["live"] == version


def test_the_plan_names_the_key(bench: Any, kvs: Any) -> None:
    (step,) = bench.plan("v1").steps
    assert (step.action, step.subject) == ("write", f"live in {ARN}: v1")
    assert kvs.values == {}


def test_another_key(stub: Any, kvs: Any, bench: Any, live_bench: Any) -> None:
    other = live_bench(stub.url, "cloudfront-kvs", kvs_arn=ARN, kvs_key="shop/é live")
    bench.activate("v1")
    other.activate("v2")
    other.activate("v3")
    assert kvs.values == {"live": "v1", "shop/é live": "v3", "shop/é live.previous": "v2"}
    assert other.activate().item.ref.version == "v2"


def test_the_bucket_is_only_read(bench: Any, stub: Any) -> None:
    bench.activate("v1")
    assert stub.writes() == []


def test_what_was_made_live_since_the_plan_is_a_conflict(bench: Any, kvs: Any) -> None:
    bench.activate("v1")
    plan = bench.plan("v2")
    kvs.put("live", "v3")
    with pytest.raises(Conflict, match="somebody else made something live in prod"):
        bench.promoter.activate(plan, Context())
    assert kvs.values["live"] == "v3"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (409, "ConflictException"),
        (412, "PreconditionFailed"),
        (400, "ValidationException: Pre-condition failed"),
    ],
)
def test_a_write_in_between_is_a_conflict(bench: Any, kvs: Any, status: int, code: str) -> None:
    bench.activate("v1")
    refused = {"ValidationException": "the pre-condition failed"}

    def meanwhile(method: str, key: str) -> tuple[int, str] | None:
        if method != "POST":
            return None
        kvs.faults.clear()
        kvs.put("live", "v3")
        return status, code.partition(":")[0]

    kvs.message = refused.get(code.partition(":")[0], "says the test")
    kvs.faults.append(meanwhile)
    with pytest.raises(Conflict, match=f"live in {ARN} changed"):
        bench.activate("v2")
    assert kvs.values == {"live": "v3"}


def test_a_write_of_other_keys_is_none(bench: Any, kvs: Any) -> None:
    """The entity tag is that of the whole store, which other things may share."""

    def meanwhile(method: str, key: str) -> None:
        if method == "POST":
            kvs.faults.clear()
            kvs.put("redirects", "{}")

    kvs.faults.append(meanwhile)
    bench.activate("v1")
    assert kvs.values == {"live": "v1", "redirects": "{}"}


def test_a_store_that_never_rests(bench: Any, kvs: Any, hasty: Any) -> None:
    def meanwhile(method: str, key: str) -> None:
        if method == "POST":
            kvs.put("redirects", "{}")

    kvs.faults.append(meanwhile)
    with pytest.raises(Conflict):
        bench.activate("v1")
    assert len([asked for asked in kvs.asked if asked[0] == "POST"]) == hasty.attempts


def test_an_answer_that_was_lost_is_no_conflict(bench: Any, kvs: Any) -> None:
    def lost(method: str, key: str) -> tuple[int, str] | None:
        if method != "POST":
            return None
        kvs.faults.clear()
        kvs.put("live", "v1")  # which is what the write does
        return 500, "InternalServerException"

    kvs.faults.append(lost)
    bench.activate("v1")
    assert kvs.values == {"live": "v1"}


@pytest.mark.parametrize("value", ["../v1", "", "v1/index.html", "{}"])
def test_a_value_that_is_no_version(bench: Any, kvs: Any, value: str) -> None:
    kvs.put("live", value)
    with pytest.raises(EndpointFailed, match="which is no version") as caught:
        bench.plan("v1")
    assert "kvs_key" in caught.value.fix


def test_a_version_that_is_live_and_gone(bench: Any, kvs: Any, stub: Any) -> None:
    kvs.put("live", "v9")
    plan = bench.activate("v1")
    assert plan.current is None
    with pytest.raises(ArtifactNotFound, match="v9/ holds no file"):
        bench.plan()


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (403, "AccessDeniedException", EndpointDenied, "DescribeKeyValueStore"),
        (404, "ResourceNotFoundException", EndpointNotFound, "does not exist"),
        (400, "ValidationException", EndpointFailed, "says the test"),
    ],
)
def test_what_the_store_refuses(
    bench: Any, kvs: Any, status: int, code: str, error: type[Exception], said: str
) -> None:
    kvs.faults.append(lambda method, key: (status, code))
    with pytest.raises(error, match=said) as caught:
        bench.plan("v1")
    assert f"the key value store {ARN} (environment prod)" in str(caught.value)


def test_a_write_that_is_not_allowed_is_named(bench: Any, kvs: Any) -> None:
    kvs.faults.append(lambda m, key: (403, "AccessDeniedException") if m == "POST" else None)
    with pytest.raises(EndpointDenied) as caught:
        bench.activate("v1")
    assert caught.value.fix == (
        "allow cloudfront-keyvaluestore:UpdateKeys to the server's AWS identity"
    )


def test_a_store_that_can_not_be_reached(
    stub: Any, kvs: Any, live_bench: Any, seed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed("v1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE", "http://kvs.localhost:1")
    with pytest.raises(EndpointUnreachable, match="key value store"):
        live_bench(stub.url, "cloudfront-kvs", kvs_arn=ARN).plan("v1")


ROLE = "arn:aws:iam::123456789012:role/imgctl"


def test_the_environments_role_is_used(
    stub: Any, kvs: Any, moto_url: str, make_bench: Any, seed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_url)
    seed("v1")
    prod = {"role_arn": ROLE, "live": {"mode": "cloudfront-kvs", "kvs_arn": ARN}}
    promoter = make_bench(stub.url, prod=prod).promoter
    item = make_bench(stub.url).item("shop:v1")
    promoter.plan_activation(item, Context())
    assert kvs.signed
    assert all("Credential=ASIA" in signature for signature in kvs.signed)
