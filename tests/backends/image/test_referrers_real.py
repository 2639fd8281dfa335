"""Referrers between real registries, made by one and judged by another's tool."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from imgctl_core.testing.fixtures import MakeDockerRegistry
from imgctl_core.testing.images import SampleManifest, make_artifact, sample_image
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import MakeBench

SBOM = "application/spdx+json"
Tool = Callable[..., str]


@pytest.fixture
def tool(peer: Callable[[str], Path], home: Path) -> Tool:
    """Return a function that runs another project's program and returns its output."""

    def run(name: str, *arguments: str, send: str = "") -> str:
        env = {**os.environ, "HOME": str(home), "DOCKER_CONFIG": str(home)}
        done = subprocess.run(
            [str(peer(name)), *arguments], env=env, input=send, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def regctl(tool: Tool, host: str, *arguments: str, send: str = "") -> str:
    return tool("regctl", "--host", f"reg={host},tls=disabled", *arguments, send=send)


def push(url: str, tag: str, image: SampleManifest) -> None:
    """Upload to `app` without the code under test."""
    http = urllib3.PoolManager()
    for digest, blob in image.all_blobs().items():
        answer = http.request("POST", f"{url}/v2/app/blobs/uploads/")
        location = answer.headers["Location"]
        location = location if "://" in location else url + location
        mark = "&" if "?" in location else "?"
        assert http.request("PUT", f"{location}{mark}digest={digest}", body=blob).status == 201
    for part in image.all_manifests():
        name = tag if part is image and tag else part.digest
        answer = http.request(
            "PUT",
            f"{url}/v2/app/manifests/{name}",
            body=part.content,
            headers={"Content-Type": part.media_type},
        )
        assert answer.status == 201, answer.data


@pytest.fixture(params=["docker-registry", "kit"])
def source(
    request: pytest.FixtureRequest, docker_registry: MakeDockerRegistry, dev: Registry
) -> Any:
    return docker_registry() if request.param == "docker-registry" else dev


@pytest.fixture(params=["docker-registry", "kit"])
def target(
    request: pytest.FixtureRequest, docker_registry: MakeDockerRegistry, prod: Registry
) -> Any:
    return docker_registry() if request.param == "docker-registry" else prod


def test_referrers_and_signatures_arrive_as_other_tools_see_them(
    make_bench: MakeBench, source: Any, target: Any, tool: Tool
) -> None:
    image = sample_image("judged", layer_bytes=100_000)
    push(source.url, "v1", image)
    signature = make_artifact(b"signed", "application/vnd.dev.cosign.simplesigning.v1+json")
    signed = image.digest.replace(":", "-") + ".sig"
    push(source.url, signed, signature)
    for subject, text in ((image.digest, "of all"), (image.children[0].digest, "of one")):
        regctl(
            tool,
            source.host,
            "artifact",
            "put",
            "--artifact-type",
            SBOM,
            "--annotation",
            f"org.example.what={text}",
            "--subject",
            f"{source.host}/app@{subject}",
            send=text,
        )
    done = make_bench(dev=source.url, prod=target.url).promote("app:v1")
    assert done.digest == image.digest
    assert done.notes == ()

    ref = f"{target.host}/app:v1"
    tool("crane", "validate", "--insecure", "--remote", ref)
    assert tool("crane", "digest", "--insecure", f"{target.host}/app:{signed}").strip() == (
        signature.digest
    )
    raw = tool("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{ref}")
    assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == image.digest
    for subject, text in ((image.digest, "of all"), (image.children[0].digest, "of one")):
        shown = regctl(
            tool,
            target.host,
            "artifact",
            "list",
            "--format",
            "{{json .}}",
            f"{target.host}/app@{subject}",
        )
        (entry,) = json.loads(shown)["descriptors"]
        assert entry["artifactType"] == SBOM
        assert entry["annotations"]["org.example.what"] == text
        content = regctl(
            tool, target.host, "artifact", "get", f"{target.host}/app@{entry['digest']}"
        )
        assert content == text
    assert (
        make_bench(dev=source.url, prod=target.url)
        .promote("app:v1", deep=True, referrers="refresh")
        .plan.unchanged
    )


def test_a_list_that_another_tool_keeps_is_added_to(
    make_bench: MakeBench, docker_registry: MakeDockerRegistry, dev: Registry, tool: Tool
) -> None:
    """The destination's own scan result stays listed beside what is promoted."""
    target = docker_registry()
    image = dev.put_image("app", "v1", sample_image("judged"))
    dev.put_image("app", "", make_artifact(b"sbom", SBOM, subject=image))
    bench = make_bench(dev=dev.url, prod=target.url)
    bench.promote("app:v1", referrers="none")
    ref = f"{target.host}/app@{image.digest}"
    put = ("artifact", "put", "--artifact-type", "text/scan", "--subject", ref)
    regctl(tool, target.host, *put, send="clean")
    assert not bench.promote("app:v1", referrers="refresh").plan.complete
    regctl(tool, target.host, *put, send="still clean")
    shown = regctl(tool, target.host, "artifact", "list", "--format", "{{json .}}", ref)
    types = sorted(entry["artifactType"] for entry in json.loads(shown)["descriptors"])
    assert types == [SBOM, "text/scan", "text/scan"]
