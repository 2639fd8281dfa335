"""Against real servers: versitygw, and moto, which answers differently."""

from __future__ import annotations

import os
from typing import Any

import pytest
import urllib3

from imgctl_backends.spa.copying import multipart
from imgctl_core import Context
from imgctl_core.errors import EndpointDenied, EndpointUnreachable

PROPERTIES = {
    "ContentType": "text/javascript; charset=utf-8",
    "CacheControl": "public, max-age=31536000, immutable",
    "ContentEncoding": "identity",
    "ContentDisposition": "inline",
    "ContentLanguage": "de",
    "Metadata": {"commit": "abc123", "built-by": "ci"},
}
MIB = 1024 * 1024


def fill(client: Any, *, big: int = 0) -> dict[str, bytes]:
    """Put a build into shop-dev, one file of it `big` bytes long."""
    for bucket in ("shop-dev", "shop-prod"):
        client.create_bucket(Bucket=bucket)
    build = {f"v1/assets/f{n} +é.{n}.js": os.urandom(n % 7 * 100) for n in range(40)}
    build["v1/index.html"] = b"<b>"
    if big:
        build["v1/app.wasm"] = os.urandom(big)
    for key, body in build.items():
        client.put_object(Bucket="shop-dev", Key=key, Body=body, Tagging="team=a%20b", **PROPERTIES)
    return build


def check_equal(source: Any, destination: Any, build: dict[str, bytes]) -> None:
    listed = destination.list_objects_v2(Bucket="shop-prod")["Contents"]
    assert {found["Key"] for found in listed} == set(build)
    for key, body in build.items():
        here = source.get_object(Bucket="shop-dev", Key=key)
        there = destination.get_object(Bucket="shop-prod", Key=key)
        assert there["Body"].read() == here["Body"].read() == body
        for name, value in PROPERTIES.items():
            assert there[name] == here[name] == value, (key, name)
        tags = destination.get_object_tagging(Bucket="shop-prod", Key=key)["TagSet"]
        assert tags == [{"Key": "team", "Value": "a b"}]


@pytest.fixture
def gateway(versitygw: Any, monkeypatch: pytest.MonkeyPatch, make_bench: Any) -> Any:
    gateway = versitygw()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.secret_key)
    return gateway


def test_versitygw_whole_build(
    gateway: Any, make_bench: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(gateway.endpoint_url)
    build = fill(client)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gateway.endpoint_url)
    bench = make_bench()  # the endpoint comes from boto3's own variable
    plan = bench.promote()
    check_equal(client, client, build)
    again = bench.plan()
    assert again.unchanged
    assert again.digest == plan.digest


def test_versitygw_one_copy_keeps_all_of_nine_mebibytes(
    gateway: Any, make_bench: Any, make_client: Any
) -> None:
    client = make_client(gateway.endpoint_url)
    build = fill(client, big=9 * MIB)
    make_bench(gateway.endpoint_url).promote()
    check_equal(client, client, build)
    assert "-" not in client.head_object(Bucket="shop-prod", Key="v1/app.wasm")["ETag"]


@pytest.mark.parametrize("server", ["versitygw", "moto"])
def test_copies_in_parts_keep_everything(
    server: str,
    request: pytest.FixtureRequest,
    make_bench: Any,
    make_client: Any,
) -> None:
    if server == "moto":
        url = request.getfixturevalue("moto_url")
    else:
        url = request.getfixturevalue("gateway").endpoint_url
    client = make_client(url)
    build = fill(client, big=11 * MIB)
    bench, context = make_bench(url, settings={"single_copy_limit": 5 * MIB}), Context()
    bench.promote(context=context)
    check_equal(client, client, build)
    assert client.head_object(Bucket="shop-prod", Key="v1/app.wasm")["ETag"].endswith('-3"')
    assert context.progress.snapshot().bytes_copied == sum(map(len, build.values()))
    assert bench.plan().unchanged  # although the entity tags differ


def test_an_expiry_that_is_no_date_is_copied_as_it_is(
    moto_url: str, make_bench: Any, make_client: Any
) -> None:
    client = make_client(moto_url)
    fill(client)
    headers = {"Expires": "0", "Content-Type": "application/wasm"}
    put = urllib3.request(
        "PUT", f"{moto_url}/shop-dev/v1/app.wasm", body=bytes(6 * MIB), headers=headers
    )
    assert put.status == 200
    make_bench(moto_url, settings={"single_copy_limit": 5 * MIB}).promote()
    there = urllib3.request("HEAD", f"{moto_url}/shop-prod/v1/app.wasm").headers
    assert there["ETag"].endswith('-2"')
    assert (there["Expires"], there["Content-Type"]) == ("0", "application/wasm")


def test_parts_are_taken_back_when_a_copy_fails(
    gateway: Any, make_bench: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(gateway.endpoint_url)
    fill(client, big=11 * MIB)
    bench = make_bench(gateway.endpoint_url, settings={"single_copy_limit": 5 * MIB})
    plan = bench.plan()

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError("power cut")

    monkeypatch.setattr(multipart.PartsCopier, "_complete", fails)
    with pytest.raises(OSError, match="power cut"):
        bench.promoter.stage(plan, Context())
    assert not client.list_multipart_uploads(Bucket="shop-prod").get("Uploads")


@pytest.mark.parametrize(("big", "tls"), [(0, False), (0, True), (17 * MIB, False)])
def test_two_services_are_bridged_by_streaming(
    gateway: Any,
    versitygw: Any,
    tls_files: Any,
    make_bench: Any,
    make_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    big: int,
    tls: bool,
) -> None:
    # Two ports of one host: a client that mixed them up would write to the source.
    other = versitygw(tls=tls)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tls_files.ca))
    source, destination = make_client(gateway.endpoint_url), make_client(other.endpoint_url)
    build = fill(source, big=big)
    destination.create_bucket(Bucket="shop-prod")
    source.delete_bucket(Bucket="shop-prod")
    ends = {"endpoint_url": gateway.endpoint_url}, {"endpoint_url": other.endpoint_url}
    bench, context = make_bench(dev=ends[0], prod=ends[1]), Context()
    plan = bench.promote(context=context)
    check_equal(source, destination, build)
    assert context.progress.snapshot().bytes_copied == sum(map(len, build.values()))
    assert bench.plan().digest == bench.plan().current == plan.digest


def test_streaming_carries_the_checksum(
    gateway: Any, versitygw: Any, make_bench: Any, make_client: Any
) -> None:
    other = versitygw()
    source, destination = make_client(gateway.endpoint_url), make_client(other.endpoint_url)
    source.create_bucket(Bucket="shop-dev")
    destination.create_bucket(Bucket="shop-prod")
    source.put_object(Bucket="shop-dev", Key="v1/a.js", Body=b"abc", ChecksumAlgorithm="CRC64NVME")
    ends = {"endpoint_url": gateway.endpoint_url}, {"endpoint_url": other.endpoint_url}
    make_bench(dev=ends[0], prod=ends[1]).promote()
    ask = {"Key": "v1/a.js", "ChecksumMode": "ENABLED"}
    value = source.head_object(Bucket="shop-dev", **ask)["ChecksumCRC64NVME"]
    assert destination.head_object(Bucket="shop-prod", **ask)["ChecksumCRC64NVME"] == value


def test_moto_whole_build(moto_url: str, make_bench: Any, make_client: Any) -> None:
    client = make_client(moto_url)
    build = fill(client)
    make_bench(moto_url).promote()
    check_equal(client, client, build)


def test_tls_with_a_private_authority(
    versitygw: Any, make_bench: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = versitygw(tls=True)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.secret_key)
    client = make_client(gateway.endpoint_url, str(gateway.ca_file))
    build = fill(client)
    with pytest.raises(EndpointUnreachable, match="certificate"):
        make_bench(gateway.endpoint_url).plan()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(gateway.ca_file))
    make_bench(gateway.endpoint_url).promote()
    check_equal(client, client, build)


def test_wrong_keys_are_refused(
    gateway: Any, make_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-not-to-be-shown")
    with pytest.raises(EndpointDenied, match="credentials") as caught:
        make_bench(gateway.endpoint_url).plan()
    assert "wrong-and-not-to-be-shown" not in str(caught.value)
