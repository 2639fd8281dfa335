"""Other people's tools work with the registry: each copies an image in it, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imgctl_core.testing.images import make_artifact, sample_image
from imgctl_core.testing.registry import Registry

_COPIES = {
    "crane": ["--insecure", "copy", "{source}/team/app:v1", "{destination}/team/app:v1"],
    "regctl": [
        *("--host", "reg={source},tls=disabled", "--host", "reg={destination},tls=disabled"),
        *("image", "copy", "{source}/team/app:v1", "{destination}/team/app:v1"),
    ],
    "oras": [
        *("copy", "--from-plain-http", "--to-plain-http"),
        *("{source}/team/app:v1", "{destination}/team/app:v1"),
    ],
    "skopeo": [
        *("--insecure-policy", "copy", "--all", "--preserve-digests"),
        *("--src-tls-verify=false", "--dest-tls-verify=false"),
        *("docker://{source}/team/app:v1", "docker://{destination}/team/app:v1"),
    ],
}


def _login(home: Path, registry: Registry) -> None:
    """Write a docker config that every one of the tools reads."""
    folder = home / ".docker"
    folder.mkdir(exist_ok=True)
    auth = "dTpw"  # u:p
    (folder / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))


@pytest.mark.parametrize("auth", ["none", "bearer"])
@pytest.mark.parametrize("tool", _COPIES)
def test_a_tool_copies_an_image(
    tool: str, auth: str, peer: Callable[[str], Path], home: Path
) -> None:
    program = peer(tool)
    bearer = Registry(auth="bearer", username="u", password="p")
    with Registry() as source, Registry() if auth == "none" else bearer as destination:
        image = source.put_image("team/app", "v1")
        _login(home, destination)
        command = [
            part.format(source=source.host, destination=destination.host) for part in _COPIES[tool]
        ]
        done = subprocess.run(
            [str(program), *command],
            env={**os.environ, "HOME": str(home), "DOCKER_CONFIG": str(home / ".docker")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert destination.tags("team/app") == {"v1": image.digest}
        for manifest in image.all_manifests():
            copied = destination.manifest("team/app", manifest.digest)
            assert copied is not None
            assert copied.content == manifest.content
            assert copied.media_type == manifest.media_type
        assert destination.blobs("team/app") == image.all_blobs().keys()
        assert destination.open_uploads == 0
        assert not [record for record in destination.requests if record.status >= 500]


def test_oras_finds_referrers(peer: Callable[[str], Path], home: Path) -> None:
    program = peer("oras")
    with Registry() as registry:
        image = registry.put_image("app", "v1", sample_image("oras"))
        signature = make_artifact(b"signed", "application/vnd.example.signature", subject=image)
        registry.put_image("app", "", signature)
        done = subprocess.run(
            [
                str(program),
                "discover",
                "--plain-http",
                "--format",
                "json",
                f"{registry.host}/app:v1",
            ],
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        listed = json.loads(done.stdout)
        assert [found["digest"] for found in listed["referrers"]] == [signature.digest]
