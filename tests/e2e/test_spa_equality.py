"""What an SPA build's objects are at both ends, as another program sees them: the AWS CLI."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

MIB = 1024 * 1024
#: Files above it go in parts, in the server's own process.
LIMIT = 10 * MIB
SAMPLED = {"assets/one.js": 1, "assets/nine.wasm": 9 * MIB, "assets/large.wasm": 21 * MIB}
EXPIRES = "Tue, 06 May 2031 07:08:09 GMT"
PROPERTIES: dict[str, Any] = {
    "ContentType": "application/wasm; charset=x-odd",
    "CacheControl": "public, max-age=31536000, immutable",
    "ContentEncoding": "gzip",
    "ContentDisposition": 'attachment; filename="app (1).wasm"',
    "ContentLanguage": "de-CH, en",
    "Expires": parsedate_to_datetime(EXPIRES),
    "Metadata": {"commit": "0a1b2c", "built-by": "ci/main #7"},
}
TAGS = [{"Key": "cost centre", "Value": "a+b=c/d"}, {"Key": "team", "Value": "web"}]


def content(name: str, size: int) -> bytes:
    block = hashlib.sha256(name.encode()).digest() * 32
    return (block * (size // len(block) + 1))[:size]


@pytest.fixture
def settings(versitygw: Callable[[], Any]) -> dict[str, str]:
    gateway = versitygw()
    return {
        "AWS_ENDPOINT_URL_S3": gateway.endpoint_url,
        "AWS_ACCESS_KEY_ID": gateway.access_key,
        "AWS_SECRET_ACCESS_KEY": gateway.secret_key,
        "AWS_DEFAULT_REGION": gateway.region,
    }


@pytest.fixture
def s3(settings: Mapping[str, str]) -> Any:
    session = boto3.session.Session(
        settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    )
    # versitygw keeps the encoding that checksums behind a body come in.
    config = Config(request_checksum_calculation="when_required")
    client = session.client("s3", endpoint_url=settings["AWS_ENDPOINT_URL_S3"], config=config)
    for suffix in ("dev", "prod"):
        client.create_bucket(Bucket=f"shop-{suffix}")
    files = {**{name: content(name, size) for name, size in SAMPLED.items()}, "index.html": b"<p>"}
    tagging = "cost%20centre=a%2Bb%3Dc%2Fd&team=web"
    for name, body in files.items():
        client.put_object(
            Bucket="shop-dev", Key=f"v1/{name}", Body=body, Tagging=tagging, **PROPERTIES
        )
    return client


def test_the_aws_cli_sees_the_same_at_both_ends(
    stack: Any,
    settings: dict[str, str],
    s3: Any,
    peer: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    aws, config = peer("aws"), tmp_path / "imgctl.toml"
    config.write_text(
        f"""
        [environments.dev.spa]
        suffix = "dev"
        [environments.prod.spa]
        suffix = "prod"
        [plugins.spa]
        single_copy_limit = {LIMIT}
        """
    )
    stack.start(**settings, IMGCTL_CONFIG=str(config))
    done = stack.promote("spa:shop:v1", "-o", "json")
    assert done.code == 0, done.err
    assert done.json["items"][0]["outcome"] == "promoted"

    def ask(call: tuple[str, str, str]) -> dict[str, Any]:
        verb, suffix, name = call
        told = subprocess.run(
            [aws, "s3api", verb, "--bucket", f"shop-{suffix}", "--key", f"v1/{name}",
             "--output", "json"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **settings},
            capture_output=True,
            timeout=60,
            check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(told.stdout)
        return found

    calls = [
        (verb, suffix, name)
        for verb in ("head-object", "get-object-tagging")
        for suffix in ("dev", "prod")
        for name in SAMPLED
    ]
    with ThreadPoolExecutor(4) as pool:
        told = dict(zip(calls, pool.map(ask, calls), strict=True))
    for name in SAMPLED:
        here, there = (told["head-object", suffix, name] for suffix in ("dev", "prod"))
        for field in (*PROPERTIES, "ContentLength"):
            assert there[field] == here[field], (name, field)
        seen = {field: there[field] for field in PROPERTIES}
        assert seen == {**PROPERTIES, "Expires": EXPIRES}
        for suffix in ("dev", "prod"):
            tags = told["get-object-tagging", suffix, name]["TagSet"]
            assert sorted(tags, key=lambda tag: tag["Key"]) == TAGS
        bodies = [s3.get_object(Bucket=f"shop-{x}", Key=f"v1/{name}") for x in ("dev", "prod")]
        assert bodies[0]["Body"].read() == bodies[1]["Body"].read()
    # Two ways to copy were taken: in one piece, and in parts of the limit's size.
    assert "-" not in told["head-object", "prod", "assets/nine.wasm"]["ETag"]
    assert told["head-object", "prod", "assets/large.wasm"]["ETag"].endswith('-3"')
    assert not s3.list_multipart_uploads(Bucket="shop-prod").get("Uploads")
    again = stack.promote("spa:shop:v1", "-o", "json")
    assert again.json["outcome"] == "unchanged"
