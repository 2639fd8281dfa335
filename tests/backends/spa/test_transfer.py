"""How a version's files are brought: one first, wave by wave, and failures in one go."""

from __future__ import annotations

import gc
import json
import threading
from typing import Any

import pytest
from pydantic import ValidationError

from imgctl_backends.spa.endpoint import SpaEndpoint, SpaSettings
from imgctl_backends.spa.order import Order
from imgctl_core import Context
from imgctl_core.errors import EndpointDenied, EndpointFailed

DENIED = (
    "User: arn:aws:sts::111122223333:assumed-role/imgctl/i-1 is not authorized to perform: "
    'kms:GenerateDataKey on resource: "arn:aws:kms:eu-central-1:111122223333:key/k" because no '
    "identity-based policy allows it"
)


@pytest.fixture(autouse=True)
def build(stub: Any) -> None:
    for number in range(40):
        stub.put("shop-dev", f"v1/assets/a.{number:08x}.js", b"%40d" % number)
        stub.put("shop-dev", f"v1/img/{number}.png", b"%40d" % number)
    for name in ("index.html", "about.html", "docs/index.html", "sw.js", "version.json"):
        stub.put("shop-dev", f"v1/{name}", name.encode() * 10)
    stub.put("shop-dev", "v1/assets/tiny.0000000a.js", b"1")


def denied(fail: Any, *parts: str) -> Any:
    """Return a fault: copies of keys with one of these in them are denied."""
    return lambda asked: (
        fail(403, "AccessDenied", DENIED)
        if asked.copies and any(part in asked.key for part in parts)
        else None
    )


def test_each_wave_waits_for_the_one_before(stub: Any, bench: Any) -> None:
    running, overlaps, lock = dict[str, int](), list[str](), threading.Lock()
    plain, order = stub._copy, Order()

    def answer(asked: Any) -> Any:
        if not asked.copies:
            return None
        wave = order.wave(asked.key.removeprefix("v1/")).name
        with lock:
            running[wave] = running.get(wave, 0) + 1
        with stub._lock:
            reply = plain(asked)
        with lock:
            running[wave] -= 1
            overlaps.extend(
                f"{wave} beside {other}" for other in running if other != wave and running[other]
            )
        return reply

    stub.faults.append(answer)
    bench.promote()
    assert overlaps == []
    waves = [order.wave(key.removeprefix("v1/")) for key in stub.copied()]
    assert waves == sorted(waves)
    assert len(set(waves)) == 6


def test_one_file_goes_before_all_the_others(stub: Any, bench: Any, fail: Any) -> None:
    stub.faults.append(denied(fail, "v1/"))
    with pytest.raises(EndpointDenied) as caught:
        bench.promote()
    assert stub.copied() == ["v1/assets/tiny.0000000a.js"]
    assert caught.value.fix == (
        "allow kms:GenerateDataKey on arn:aws:kms:eu-central-1:111122223333:key/k "
        "to arn:aws:sts::111122223333:assumed-role/imgctl/i-1"
    )


def test_the_rest_of_a_wave_is_brought_and_failures_are_one_error(
    stub: Any, bench: Any, fail: Any
) -> None:
    stub.faults.append(denied(fail, "00000003", "00000007"))
    with pytest.raises(EndpointDenied, match=r"2 files failed: 'assets/a\.0000000[37]\.js'"):
        bench.promote()
    there = stub.buckets["shop-prod"]
    assert len(there) == 41 - 2
    assert not any(key.endswith((".png", ".html", "sw.js", "version.json")) for key in there)


def test_many_failures_end_it(stub: Any, make_bench: Any, fail: Any) -> None:
    stub.faults.append(denied(fail, "assets/a."))
    bench = make_bench(stub.url, settings={"concurrency": 1})
    with pytest.raises(EndpointDenied, match=r"20 files failed: .* and 16 more"):
        bench.promote()
    assert len(stub.copied()) == 1 + 20


def test_what_was_put_aside_is_tried_when_the_rest_is_through(
    stub: Any, bench: Any, hasty: Any, fail: Any
) -> None:
    unlucky, tries = "v1/assets/a.00000005.js", []

    def fault(asked: Any) -> Any:
        if not asked.copies or asked.key != unlucky:
            return None
        tries.append(len(stub.buckets["shop-prod"]))
        return fail(500, "InternalError") if len(tries) <= 2 * hasty.attempts else None

    stub.faults.append(fault)
    bench.promote()
    assert unlucky in stub.buckets["shop-prod"]
    assert tries[-1] == 40  # all other hashed assets were there


def test_what_never_works_is_told_with_how_often(stub: Any, bench: Any, fail: Any) -> None:
    stub.faults.append(
        lambda a: fail(500, "InternalError") if a.copies and "00000005" in a.key else None
    )
    with pytest.raises(EndpointFailed, match=r"failed 9 times in a row at assets/a\.00000005\.js"):
        bench.promote()


def test_no_more_copies_are_in_flight_than_allowed(stub: Any, make_bench: Any) -> None:
    flying, most, lock = 0, [0], threading.Lock()
    plain = stub._copy

    def answer(asked: Any) -> Any:
        nonlocal flying
        if not asked.copies:
            return None
        with lock:
            flying += 1
            most.append(flying)
        with stub._lock:
            reply = plain(asked)
        with lock:
            flying -= 1
        return reply

    stub.faults.append(answer)
    make_bench(stub.url, settings={"concurrency": 3}).promote()
    assert max(most) <= 3


def test_what_an_operator_calls_an_entry_point_goes_with_them(stub: Any, make_bench: Any) -> None:
    stub.put("shop-dev", "v1/config/env.js", b"window.env = {}")
    make_bench(stub.url, settings={"entry_points": ["config/*.js"]}).promote()
    copied = stub.copied()
    assert copied.index("v1/config/env.js") > copied.index("v1/img/39.png")


def test_encryption_and_acl_are_those_of_the_endpoint(stub: Any, make_bench: Any) -> None:
    prod = {"kms_key": "alias/spa", "acl": "bucket-owner-full-control"}
    make_bench(stub.url, dev={"kms_key": "alias/other"}, prod=prod).promote()
    for asked in stub.writes():
        assert asked.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert asked.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/spa"
        assert asked.headers["x-amz-server-side-encryption-bucket-key-enabled"] == "true"
        assert asked.headers["x-amz-acl"] == "bucket-owner-full-control"


def test_a_bucket_that_takes_no_acls_says_what_to_change(
    stub: Any, make_bench: Any, fail: Any
) -> None:
    stub.faults.append(
        lambda a: fail(400, "AccessControlListNotSupported") if "x-amz-acl" in a.headers else None
    )
    with pytest.raises(EndpointFailed, match="takes no ACLs") as caught:
        make_bench(stub.url, prod={"acl": "private"}).promote()
    assert caught.value.fix == "take acl out of [environments.prod.spa]"


@pytest.mark.parametrize(
    "wrong",
    [{"kms_key": "a key"}, {"bucket_key": False}, {"acl": "authenticated-read"}],
)
def test_settings_of_writing_that_are_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpaEndpoint.model_validate({"suffix": "prod", **wrong})


@pytest.mark.parametrize("wrong", [{"entry_points": ["/a"]}, {"copies_per_second": 0}])
def test_settings_of_the_promoter_that_are_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpaSettings.model_validate(wrong)


def test_the_manifest_is_the_record(stub: Any, bench: Any) -> None:
    present = "v1/assets/a.00000001.js"
    stub.put("shop-prod", present, stub.buckets["shop-dev"][present].body)
    context = Context()
    plan = bench.plan_in(context)
    before = list(bench.promoter.manifest(plan, context))
    assert {row["action"] for row in before} == {"copy", "present"}
    assert [row["etag"] is None for row in before].count(False) == 1
    bench.promote(context=context)
    rows = list(bench.promoter.manifest(plan, context))
    assert json.loads(json.dumps(rows)) == rows
    assert [row["key"] for row in rows] == [row["key"] for row in before]
    for row in rows:
        there = stub.buckets["shop-prod"][f"v1/{row['key']}"]
        assert (row["size"], row["etag"]) == (len(there.body), there.etag)
        assert row["action"] == ("present" if f"v1/{row['key']}" == present else "copy")


def test_the_manifest_has_checksums_and_versions_where_s3_tells_them(
    stub: Any, bench: Any, reply: Any
) -> None:
    plain = stub._copy

    def versioned(asked: Any) -> Any:
        if not asked.copies:
            return None
        answer = plain(asked)
        body = answer.body.replace(
            b"</ETag>", b"</ETag><ChecksumCRC64NVME>abc=</ChecksumCRC64NVME>"
        )
        return reply(body=body, headers={"x-amz-version-id": "v-" + asked.key})

    stub.faults.append(versioned)
    context = Context()
    plan = bench.promote(context=context)
    for row in bench.promoter.manifest(plan, context):
        assert row["checksum"] == "crc64nvme:abc="
        assert row["version_id"] == f"v-v1/{row['key']}"


def test_a_promotion_takes_four_lists(stub: Any, bench: Any) -> None:
    bench.plan()  # opens the buckets
    stub.asked.clear()
    bench.promote()
    lists = sorted(asked.bucket for asked in stub.asked if not asked.key)
    # The plan's two, the proof that all assets are there, and verification.
    assert lists == ["shop-dev", "shop-prod", "shop-prod", "shop-prod"]


def test_nothing_of_the_client_is_kept(bench: Any) -> None:
    from awscrt.s3 import S3Request

    bench.promote()
    gc.collect()
    assert [found for found in gc.get_objects() if isinstance(found, S3Request)] == []
