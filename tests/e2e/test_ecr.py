"""Promoting to a registry with ECR's ways, by the real command line and a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.testing.ecr import EcrRegistry
from imgctl_core.testing.httpd import Request
from imgctl_core.testing.images import SampleManifest, sample_image
from imgctl_core.testing.registry import Registry


@pytest.fixture
def dev() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def ecr() -> Iterator[EcrRegistry]:
    with EcrRegistry() as registry:
        yield registry


@pytest.fixture
def start(stack: Any, dev: Registry, ecr: EcrRegistry, tmp_path: Path) -> Callable[[], None]:
    """Return a function that starts the server: `prod` creates repositories, `strict` not."""

    def start() -> None:
        endpoint = f"""
        registry = "{ecr.url}"
        auth = "ecr"
        region = "{ecr.region}"
        registry_id = "{ecr.account}"
        """
        config = tmp_path / "imgctl.toml"
        config.write_text(
            f"""
            [environments.dev.image]
            registry = "{dev.url}"
            [environments.strict.image]
            {endpoint}
            [environments.prod.image]
            {endpoint}
            [environments.prod.image.create_repositories]
            mutability = "IMMUTABLE"
            scan_on_push = true
            tags = {{ team = "red" }}
            """
        )
        stack.start(
            IMGCTL_CONFIG=str(config),
            AWS_ENDPOINT_URL_ECR=ecr.api_url,
            AWS_ACCESS_KEY_ID="OURS",
            AWS_SECRET_ACCESS_KEY="aws-secret",
        )

    return start


def total(image: SampleManifest) -> int:
    return sum(map(len, image.all_blobs().values()))


def test_a_missing_repository_refused_and_created(
    stack: Any, dev: Registry, ecr: EcrRegistry, start: Callable[[], None]
) -> None:
    image = dev.put_image("team/app", "v1")
    start()
    refused = stack.run("promote", "team/app:v1", "--source", "dev", "-d", "strict", "-o", "json")
    assert refused.code == 1
    said = json.loads(refused.err)["error"]
    assert said["reason"] == "ENDPOINT_FAILED"
    assert "has no repository team/app" in said["message"]
    assert "create_repositories" in said["fix"]
    assert dev.count("GET", "/blobs/") == 0
    planned = stack.promote("team/app:v1", "--plan")
    assert "create repository" in planned.out, planned.err
    assert ecr.settings("team/app") is None
    done = stack.promote("team/app:v1", "-o", "json")
    assert done.code == 0, done.err
    (item,) = done.json["items"]
    assert (item["outcome"], item["digest"]) == ("promoted", image.digest)
    assert item["bytes_copied"] == total(image)
    assert any("was created" in note for note in item["notes"])
    made = ecr.settings("team/app")
    assert made is not None
    assert (made.mutability, made.scan_on_push, made.tags) == ("IMMUTABLE", True, {"team": "red"})
    again = stack.promote("team/app:v1")
    assert again.code == 0
    assert again.out.startswith("unchanged")
    assert ecr.api.count_calls("CreateRepository") == 1
    for text in (done.out, done.err, stack.log, stack.audit_log.read_text()):
        assert "aws-secret" not in text


def test_a_token_that_expires_in_the_middle(
    stack: Any, dev: Registry, ecr: EcrRegistry, start: Callable[[], None]
) -> None:
    image = dev.put_image("app", "v1", sample_image("long", layer_bytes=300_000))
    ecr.create("app")
    expired: list[str] = []

    def expire(request: Request) -> None:
        if request.method == "PUT" and "/blobs/uploads/" in request.path and not expired:
            expired.append(request.path)
            ecr.expire_tokens()

    ecr.faults.append(expire)
    start()
    done = stack.promote("app:v1", "-o", "json")
    assert done.code == 0, done.err
    assert expired
    assert done.json["items"][0]["bytes_copied"] == total(image)
    assert ecr.api.count_calls("GetAuthorizationToken") == 2
    assert ecr.tags("app")["v1"] == image.digest


@pytest.mark.parametrize("same", [True, False])
def test_an_immutable_tag_that_somebody_else_puts_first(
    stack: Any, dev: Registry, ecr: EcrRegistry, start: Callable[[], None], same: bool
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create("app", immutable=True)
    theirs = image if same else sample_image("theirs")

    def sneak(request: Request) -> None:
        if request.method == "PUT" and request.path.endswith("/manifests/v1"):
            ecr.put_image("app", "v1", theirs)

    ecr.faults.append(sneak)
    start()
    done = stack.promote("app:v1", "-o", "json")
    assert [r.status for r in ecr.requests if r.path.endswith("/v1") and r.method == "PUT"] == [400]
    assert ecr.tags("app")["v1"] == theirs.digest
    if same:
        assert done.code == 0, done.err
        assert done.json["items"][0]["digest"] == image.digest
    else:
        assert done.code == 8
        assert image.digest in done.out + done.err
        assert theirs.digest in done.out + done.err


def test_a_storm_of_429(
    stack: Any, dev: Registry, ecr: EcrRegistry, start: Callable[[], None]
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create("app")
    for action in ("PutImage", "InitiateLayerUpload", "CompleteLayerUpload", "BatchGetImage"):
        ecr.limits.refuse(action, 3)
    start()
    done = stack.promote("app:v1", "-o", "json")
    assert done.code == 0, done.err
    assert done.json["items"][0]["digest"] == image.digest == ecr.tags("app")["v1"]
    assert ecr.limits.refused("PutImage") == 3
    assert sum(r.status == 429 for r in ecr.requests) == 12
