"""Promote an image and an SPA build between real registries and a real S3 server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3

from imgctl_core.audit import read, verify
from imgctl_core.testing.images import SampleManifest, sample_image

SPA_FILES = 400


@pytest.fixture
def push(tmp_path: Path) -> Callable[..., None]:
    """Return a function that pushes an image to a registry by plain HTTP calls."""

    def push(registry: Any, repository: str, tag: str, image: SampleManifest) -> None:
        http = _http(registry)
        base = f"{registry.url}/v2/{repository}"
        for digest, blob in image.all_blobs().items():
            begun = http.request("POST", f"{base}/blobs/uploads/")
            location = begun.headers["Location"]
            joint = "&" if "?" in location else "?"
            put = http.request("PUT", f"{location}{joint}digest={digest}", body=blob)
            assert put.status == 201, put.data
        for manifest in image.all_manifests():
            name = tag if manifest is image else manifest.digest
            put = http.request(
                "PUT",
                f"{base}/manifests/{name}",
                body=manifest.content,
                headers={"Content-Type": manifest.media_type},
            )
            assert put.status == 201, put.data

    return push


def _http(registry: Any) -> urllib3.PoolManager:
    headers = {}
    if registry.username:
        headers = urllib3.make_headers(basic_auth=f"{registry.username}:{registry.password}")
    return urllib3.PoolManager(
        headers=headers, ca_certs=str(registry.ca_file) if registry.ca_file else None
    )


def _fetch(registry: Any, path: str) -> bytes:
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    http = _http(registry)
    answer = http.request(
        "GET", f"{registry.url}{path}", headers={**http.headers, "Accept": accept}
    )
    assert answer.status == 200, (path, answer.status, answer.data)
    return answer.data


def test_an_image_between_docker_registries_with_tls_and_a_password(
    stack: Any, docker_registry: Any, push: Callable[..., None], tmp_path: Path
) -> None:
    dev, prod = docker_registry(), docker_registry(tls=True, htpasswd=True)
    image = sample_image("e2e", layer_bytes=200_000)
    push(dev, "team/app", "v1.0.0", image)
    password = tmp_path / "password"
    password.write_text(prod.password)
    config = tmp_path / "imgctl.toml"
    config.write_text(
        f"""
        [environments.dev.image]
        registry = "{dev.host}"
        [environments.prod.image]
        registry = "{prod.host}"
        username = "{prod.username}"
        password_file = "{password}"
        ca_file = "{prod.ca_file}"
        """
    )
    stack.start(IMGCTL_CONFIG=str(config))
    first = stack.promote("team/app:v1.0.0", "-o", "json")
    assert first.code == 0, first.err
    (item,) = first.json["items"]
    assert (item["outcome"], item["digest"]) == ("promoted", image.digest)
    assert item["bytes_copied"] >= sum(map(len, image.all_blobs().values()))
    assert _fetch(prod, "/v2/team/app/manifests/v1.0.0") == image.content
    for child in image.children:
        assert _fetch(prod, f"/v2/team/app/manifests/{child.digest}") == child.content
    for digest in image.all_blobs():
        blob = _fetch(prod, f"/v2/team/app/blobs/{digest}")
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == digest
    again = stack.promote("team/app:v1.0.0")
    assert again.code == 0
    assert again.out.startswith(f"unchanged team/app:v1.0.0 to prod  {image.digest}  pr_")
    assert again.out.count("\n") == 1
    assert prod.password not in first.out + first.err + stack.log


def test_an_spa_build_on_versitygw_keeps_every_property(stack: Any, versitygw: Any) -> None:
    gateway = versitygw()
    keys = {
        "AWS_ENDPOINT_URL_S3": gateway.endpoint_url,
        "AWS_ACCESS_KEY_ID": gateway.access_key,
        "AWS_SECRET_ACCESS_KEY": gateway.secret_key,
        "AWS_DEFAULT_REGION": gateway.region,
    }
    s3: Any = boto3.session.Session(
        gateway.access_key, gateway.secret_key, region_name=gateway.region
    ).client("s3", endpoint_url=gateway.endpoint_url)
    for suffix in ("dev", "prod"):
        s3.create_bucket(Bucket=f"shop-{suffix}")

    def put(number: int) -> None:
        name = "index.html" if number == 0 else f"assets/part {number}+é.js"
        s3.put_object(
            Bucket="shop-dev",
            Key=f"1.4.2/{name}",
            Body=f"// part {number}".encode() * (number % 7 + 1),
            ContentType="text/html" if number == 0 else "text/javascript",
            CacheControl="no-cache" if number == 0 else "max-age=31536000, immutable",
            Metadata={"part": str(number)},
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(SPA_FILES)))
    s3.put_object(Bucket="shop-dev", Key="1.4.20/index.html", Body=b"another version")
    stack.start(**keys, IMGCTL_SPA_DEV="dev", IMGCTL_SPA_PROD="prod")
    done = stack.promote("spa:shop:1.4.2", "-o", "json")
    assert done.code == 0, done.err
    (item,) = done.json["items"]
    assert (item["outcome"], item["kind"]) == ("promoted", "spa")

    def properties(bucket: str, key: str) -> tuple[Any, ...]:
        found = s3.get_object(Bucket=bucket, Key=key)
        return (
            found["Body"].read(),
            found["ContentType"],
            found["CacheControl"],
            found["Metadata"],
        )

    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="shop-prod")
    arrived = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert len(arrived) == SPA_FILES
    with ThreadPoolExecutor(8) as pool:
        same = pool.map(
            lambda key: properties("shop-dev", key) == properties("shop-prod", key), arrived
        )
        assert all(same)
    again = stack.promote("spa:shop:1.4.2", "-o", "json")
    assert again.json["outcome"] == "unchanged"
    assert again.json["items"][0]["digest"] == item["digest"]
    missing = stack.promote("spa:shop:1.4.3")
    assert missing.code == 9


def test_two_digests_for_one_tag_at_the_same_moment(stack: Any, registries: Any) -> None:
    dev, integration, prod = registries
    one = dev.put_image("app", "v1", sample_image("one"))
    other = integration.put_image("app", "v1", sample_image("other"))
    stack.start()
    assert stack.run("auth-check").code == 0
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda source: stack.promote("app:v1", source=source), ("dev", "int")))
    assert sorted(one_done.code for one_done in done) == [0, 8], [d.err for d in done]
    won, lost = (one, other) if done[0].code == 0 else (other, one)
    assert prod.tags("app")["v1"] == won.digest
    refused = done[1] if done[0].code == 0 else done[0]
    assert won.digest in refused.err
    assert lost.digest in refused.err


def test_a_server_killed_in_the_middle_leaves_no_tag_and_the_same_command_completes(
    stack: Any, registries: Any
) -> None:
    dev, _, prod = registries
    image = dev.put_image("app", "v1", sample_image("killed", layer_bytes=2_000_000))
    stack.start()
    killed: list[str] = []

    def kill(request: Any) -> None:
        if request.method == "PUT" and "/blobs/uploads/" in request.path and not killed:
            killed.append(request.path)
            stack.process.kill()

    prod.faults.append(kill)
    cut = stack.promote("app:v1")
    assert killed
    assert cut.code == 10, cut.err
    assert "v1" not in prod.tags("app")
    prod.faults.clear()
    stack.start()
    again = stack.promote("app:v1")
    assert again.code == 0, again.err
    assert prod.tags("app")["v1"] == image.digest
    events = [record["event"] for record in read(stack.audit_log)]
    assert events.count("promotion.requested") == 2
    assert events.count("promotion.promoted") == 1
    assert verify(stack.audit_log).problems == ()


def test_a_stopped_server_lets_the_running_promotion_end(stack: Any, registries: Any) -> None:
    dev, _, prod = registries
    dev.put_image("app", "v1", sample_image("drain"))
    stack.start()
    asked: list[str] = []

    def terminate(request: Any) -> None:
        if request.method == "PUT" and not asked:
            asked.append(request.path)
            stack.process._process.terminate()

    prod.faults.append(terminate)
    done = stack.promote("app:v1")
    assert asked, done.err
    assert done.code == 0, done.err
    stack.process._process.wait(20)
    assert stack.process._process.returncode == 0


def test_the_audit_log_tells_the_story_without_a_secret(stack: Any, registries: Any) -> None:
    dev, _, _ = registries
    dev.put_image("app", "v1", sample_image("audit"))
    stack.start()
    shown = stack.promote("app:v1", "--show-token")
    assert shown.code == 0, shown.err
    token = shown.out.splitlines()[0]
    assert token.count(".") == 2
    denied = stack.run(
        "promote", "app:v1", "--source", "dev", "-d", "prod",
        "-u", "bob", "-f", stack.client["BOB_KEY"],
    )  # fmt: skip
    assert denied.code == 5
    assert "eng" in denied.err
    text = stack.audit_log.read_text()
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert events[0] == "server.started"
    assert {"promotion.requested", "promotion.promoted", "authz.denied"} <= set(events)
    for secret in (token, token.split(".")[2], "very-secret"):
        assert secret not in text
        assert secret not in stack.log
    audit = {"IMGCTL_AUDIT_LOG": str(stack.audit_log)}
    assert stack.run("audit", "verify", env=audit).code == 0
    assert "alice" in stack.run("audit", "show", env=audit).out
