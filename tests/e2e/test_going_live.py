"""SPA builds promoted, made live and taken back, on a real S3 server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest


@pytest.fixture
def shop(stack: Any, versitygw: Any, tmp_path: Path) -> Any:
    """Return a client of a server whose prod is the bucket's root and whose test a pointer."""
    gateway = versitygw()
    keys = (gateway.access_key, gateway.secret_key)
    session = boto3.session.Session(*keys, region_name=gateway.region)
    client: Any = session.client("s3", endpoint_url=gateway.endpoint_url)
    for suffix in ("dev", "test", "prod"):
        client.create_bucket(Bucket=f"shop-{suffix}")
    for version in ("v1", "v2"):
        page = f'<script src="/{version}/app.js"></script>{version}'
        for key, body in (("app.js", version), ("index.html", page)):
            client.put_object(Bucket="shop-dev", Key=f"{version}/{key}", Body=body.encode())
    config = tmp_path / "imgctl.toml"
    config.write_text(
        """
        [environments.dev.spa]
        suffix = "dev"
        [environments.test.spa]
        suffix = "test"
        live = { mode = "pointer" }
        [environments.prod.spa]
        suffix = "prod"
        live = { mode = "root" }
        """
    )
    stack.start(
        IMGCTL_CONFIG=str(config),
        AWS_ENDPOINT_URL_S3=gateway.endpoint_url,
        AWS_ACCESS_KEY_ID=gateway.access_key,
        AWS_SECRET_ACCESS_KEY=gateway.secret_key,
        AWS_DEFAULT_REGION=gateway.region,
    )
    return client


@pytest.mark.parametrize("environment", ["prod", "test"])
def test_a_version_is_promoted_and_goes_live_and_back(
    stack: Any, shop: Any, environment: str
) -> None:
    def live() -> str:
        key = "index.html" if environment == "prod" else "current.json"
        body = shop.get_object(Bucket=f"shop-{environment}", Key=key)["Body"].read()
        return str(body[-2:].decode() if environment == "prod" else json.loads(body)["version"])

    def activate(*arguments: str) -> Any:
        return stack.run("activate", *arguments, "-d", environment)

    absent = activate("spa:shop:v1")
    assert absent.code == 9
    assert f"promote it to {environment} first" in absent.err
    for version in ("v1", "v2"):
        reference = f"spa:shop:{version}"
        promoted = stack.run("promote", reference, "--source", "dev", "-d", environment)
        assert promoted.code == 0, promoted.err
        planned = activate(reference, "--plan")
        assert planned.code == 0, planned.err
        assert (
            f" {'index.html' if environment == 'prod' else 's3://shop-test/current.json'}"
            in planned.out
        )
        done = activate(reference)
        assert done.out.startswith(f"activated {reference} in {environment}  sha256:"), done.err
        assert live() == version
    assert activate("spa:shop:v2").out.startswith("unchanged spa:shop:v2")
    for version in ("v1", "v2"):
        back = activate("spa:shop", "--previous")
        assert back.out.startswith(f"activated spa:shop:{version} in {environment}"), back.err
        assert live() == version


def test_what_is_no_name_is_refused(stack: Any, shop: Any) -> None:
    assert stack.run("activate", "spa:Shop", "--previous", "-d", "prod").code != 0
    gone = stack.run("activate", "spa:shop:v1", "-d", "dev")
    assert "dev does not say what live means for SPA builds" in gone.err
