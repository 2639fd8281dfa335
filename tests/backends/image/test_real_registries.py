"""Against the reference registry, judged by other people's tools."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3

from imgctl_core.errors import Conflict, EndpointDenied
from imgctl_core.testing.fixtures import MakeDockerRegistry
from imgctl_core.testing.images import SampleManifest, sample_image
from imgctl_core.testing.peers import DockerRegistry
from imgctl_core.testing.tls import TlsFiles

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench


def push(registry: DockerRegistry, repository: str, tag: str, image: SampleManifest) -> None:
    """Upload an image without the code under test."""
    http = urllib3.PoolManager()
    for digest, blob in image.all_blobs().items():
        url = f"{registry.url}/v2/{repository}/blobs/uploads/"
        location = http.request("POST", url).headers["Location"]
        assert http.request("PUT", f"{location}&digest={digest}", body=blob).status == 201
    for part in image.all_manifests():
        name = tag if part is image else part.digest
        url = f"{registry.url}/v2/{repository}/manifests/{name}"
        headers = {"Content-Type": part.media_type}
        assert http.request("PUT", url, body=part.content, headers=headers).status == 201


@pytest.fixture
def image() -> SampleManifest:
    return sample_image("real", layer_bytes=1_500_000)


@pytest.fixture
def plain(docker_registry: MakeDockerRegistry, image: SampleManifest) -> DockerRegistry:
    registry = docker_registry()
    push(registry, "team/app", "v1", image)
    return registry


@pytest.fixture
def locked(docker_registry: MakeDockerRegistry, tls_files: TlsFiles) -> DockerRegistry:
    """Return a registry with TLS and a password."""
    return docker_registry(tls=tls_files, htpasswd=True)


@pytest.fixture
def real_bench(
    make_bench: MakeBench,
    plain: DockerRegistry,
    locked: DockerRegistry,
    tls_files: TlsFiles,
    tmp_path: Path,
) -> Bench:
    secret = tmp_path / "password"
    secret.write_text(locked.password)
    return make_bench(
        dev=plain.host,
        prod={
            "registry": f"{locked.host}/prod",
            "username": locked.username,
            "password_file": secret,
            "ca_file": tls_files.ca,
        },
        stranger={"registry": f"{locked.host}/prod", "ca_file": tls_files.ca},
        again=f"{plain.host}/copy",
    )


def test_from_plain_http_to_tls_with_a_password(
    real_bench: Bench,
    locked: DockerRegistry,
    image: SampleManifest,
    peer: Callable[[str], Path],
    tls_files: TlsFiles,
    home: Path,
) -> None:
    done = real_bench.promote("team/app:v1")
    assert done.digest == image.digest
    assert done.progress.bytes_copied == done.progress.bytes_total
    assert real_bench.promote("team/app:v1").plan.unchanged
    crane = str(peer("crane"))
    env = {**os.environ, "SSL_CERT_FILE": str(tls_files.ca), "DOCKER_CONFIG": str(home)}
    login = ["auth", "login", locked.host, "-u", locked.username, "-p", locked.password]
    subprocess.run([crane, *login], env=env, check=True, capture_output=True)
    ref = f"{locked.host}/prod/team/app:v1"
    subprocess.run([crane, "validate", "--remote", ref], env=env, check=True, capture_output=True)
    digest = subprocess.run([crane, "digest", ref], env=env, check=True, capture_output=True)
    assert digest.stdout.decode().strip() == image.digest


def test_a_conflict(real_bench: Bench, plain: DockerRegistry, image: SampleManifest) -> None:
    real_bench.promote("team/app:v1")
    other = sample_image("other")
    push(plain, "team/app", "v1", other)
    with pytest.raises(Conflict) as caught:
        real_bench.promote("team/app:v1")
    assert image.digest in caught.value.message
    assert other.digest in caught.value.message
    assert real_bench.promote("team/app:v1", replace=True).digest == other.digest


def test_strangers_are_refused(real_bench: Bench) -> None:
    with pytest.raises(EndpointDenied) as caught:
        real_bench.plan("team/app:v1", destination="stranger")
    assert "credentials" in caught.value.fix


def test_a_real_mount(real_bench: Bench, image: SampleManifest) -> None:
    done = real_bench.promote("team/app:v1", destination="again")
    assert done.digest == image.digest
    assert done.progress.bytes_mounted == sum(map(len, image.all_blobs().values()))


def test_sessions_are_cancelled_for_real(real_bench: Bench, plain: DockerRegistry) -> None:
    """A damaged source leaves neither a tag nor a session at the destination."""
    blobs = sorted(plain.folder.rglob("blobs/sha256/*/*/data"), key=lambda p: p.stat().st_size)
    damaged = blobs[-1]
    damaged.write_bytes(bytes(damaged.stat().st_size))
    from imgctl_core.errors import EndpointFailed, EndpointUnreachable

    with pytest.raises((EndpointFailed, EndpointUnreachable)):
        real_bench.promote("team/app:v1")
    assert not real_bench.plan("team/app:v1").unchanged
