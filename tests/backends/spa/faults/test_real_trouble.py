"""Troubles that the servers themselves have, without a line that plays them."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from imgctl_core import Context, PromotionItem
from imgctl_core.errors import ArtifactNotFound, EndpointFailed, EndpointNotFound
from imgctl_core.testing.httpd import Fault, Request, Response

BIG = {f"v1/assets/big-{n:08x}.js": b"%d" % n * 10_000 for n in range(3)}
SMALL = {
    "v1/assets/small-00000009.js": b"s",
    "v1/index.html": "".join(f"<script src={key[3:]}></script>" for key in BIG).encode(),
}


@contextmanager
def full_disk(process: int) -> Iterator[None]:
    """Let writes of more than 4 KiB fail, as on a disk with little room."""
    before = resource.prlimit(process, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no prlimit here")
def test_a_disk_that_is_full(versitygw: Any, make_bench: Any, make_client: Any) -> None:
    gateway = versitygw()
    client, bench = make_client(gateway.endpoint_url), make_bench(gateway.endpoint_url)
    for bucket in ("shop-dev", "shop-prod"):
        client.create_bucket(Bucket=bucket)
    for key, body in {**BIG, **SMALL}.items():
        client.put_object(Bucket="shop-dev", Key=key, Body=body)

    def held() -> dict[str, bytes]:
        rows = client.list_objects_v2(Bucket="shop-prod").get("Contents", [])
        keys = [row["Key"] for row in rows]
        return {k: client.get_object(Bucket="shop-prod", Key=k)["Body"].read() for k in keys}

    with full_disk(gateway.process.pid):
        with pytest.raises(EndpointFailed, match=r"3 files failed.*big-0000000\d\.js"):
            bench.promote()
        assert held() == {"v1/assets/small-00000009.js": b"s"}
    bench.promote()
    assert held() == {**BIG, **SMALL}


@pytest.mark.parametrize("where", ["versitygw", "moto"])
def test_buckets_that_are_not_there(line: Any) -> None:
    promoter = line.promoter()
    line.client.create_bucket(Bucket="lone-dev")
    line.client.put_object(Bucket="lone-dev", Key="v1/index.html", Body=b"<p>")
    try:
        for name, kind, told in (
            ("lone", EndpointNotFound, "prod has no bucket lone-prod"),
            ("nope", ArtifactNotFound, "the bucket nope-dev does not exist"),
        ):
            item = PromotionItem(f"spa:{name}:v1", promoter.parse(f"{name}:v1"), "dev", "prod")
            with pytest.raises(kind, match=told):
                promoter.plan(item, Context())
    finally:
        line.client.delete_object(Bucket="lone-dev", Key="v1/index.html")
        line.client.delete_bucket(Bucket="lone-dev")


@pytest.mark.parametrize("where", ["versitygw", "moto"])
@pytest.mark.parametrize("end", ["dev", "prod"])
def test_a_bucket_that_goes_away_between_the_plan_and_the_copies(line: Any, end: str) -> None:
    """With nothing in the way: the server itself says which bucket it misses."""
    promoter = line.promoter()
    for name in ("dev", "prod"):
        line.client.create_bucket(Bucket=f"brief-{name}")
    line.client.put_object(Bucket="brief-dev", Key="v1/index.html", Body=b"<p>")
    item = PromotionItem("spa:brief:v1", promoter.parse("brief:v1"), "dev", "prod")
    plan = promoter.plan(item, Context())
    if end == "dev":
        line.client.delete_object(Bucket="brief-dev", Key="v1/index.html")
    line.client.delete_bucket(Bucket=f"brief-{end}")
    try:
        kind = ArtifactNotFound if end == "dev" else EndpointNotFound
        with pytest.raises(kind, match=f"brief-{end}"):
            promoter.publish(plan, Context())
    finally:
        if end == "prod":
            line.client.delete_object(Bucket="brief-dev", Key="v1/index.html")
        line.client.delete_bucket(Bucket="brief-prod" if end == "dev" else "brief-dev")


@pytest.mark.parametrize("where", ["moto"])  # versitygw takes its own region alone
def test_a_bucket_in_another_region_is_followed_there(line: Any) -> None:
    def redirect(request: Request) -> Fault | None:
        signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/", request.headers.get("Authorization"))
        if signed and signed[1] == "eu-central-1":
            return None
        headers = {"x-amz-bucket-region": "eu-central-1"}
        body = b"<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"
        return Fault(answer=Response(301, headers, b"" if request.method == "HEAD" else body))

    line.proxy.faults.insert(0, redirect)
    line.promote("v2", line.promoter(fresh=True))
    line.check("v2", whole=True)
