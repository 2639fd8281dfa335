"""Sample images with real layers, the same bytes for the same arguments."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

OCI_IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"

_OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_EMPTY: Final = b"{}"
_EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
_CREATED: Final = "2024-01-01T00:00:00Z"


@dataclass(frozen=True)
class SampleManifest:
    """One manifest, with all that it needs below it, children first."""

    media_type: str
    content: bytes
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    children: tuple[SampleManifest, ...] = ()
    platform: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def descriptor(self) -> dict[str, object]:
        """Return the descriptor that an index, or a referrer, names this by."""
        told = _descriptor(self.media_type, self.content)
        return {**told, "platform": dict(self.platform)} if self.platform else told

    def all_blobs(self) -> dict[str, bytes]:
        """Return the blobs of this manifest and of all below it, by digest."""
        found = dict(self.blobs)
        for child in self.children:
            found |= child.all_blobs()
        return found

    def all_manifests(self) -> tuple[SampleManifest, ...]:
        """Return everything to push, in an order in which it may be pushed."""
        below = [found for child in self.children for found in child.all_manifests()]
        return (*below, self)

    @property
    def size(self) -> int:
        """Return the bytes of all blobs and manifests, each counted once."""
        manifests = {found.digest: len(found.content) for found in self.all_manifests()}
        return sum(map(len, self.all_blobs().values())) + sum(manifests.values())


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def noise(seed: str, size: int) -> bytes:
    """Return bytes that look random, don't compress, and are always the same."""
    return hashlib.shake_128(seed.encode()).digest(size)


def make_layer(files: Mapping[str, bytes]) -> bytes:
    """Return a tar.gz with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), 6, mtime=0)


def make_image(
    layers: Sequence[bytes],
    *,
    architecture: str = "amd64",
    system: str = "linux",
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> SampleManifest:
    """Return an image of those tar.gz layers, as OCI or as Docker schema 2 spells it."""
    config = _json(
        {
            "architecture": architecture,
            "os": system,
            "created": _CREATED,
            "config": {"Cmd": ["/app/run"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [digest_of(gzip.decompress(layer)) for layer in layers],
            },
            "history": [{"created": _CREATED, "created_by": "imgctl sample"} for _ in layers],
        }
    )
    media_type = DOCKER_IMAGE if docker else OCI_IMAGE
    layer_type = _DOCKER_LAYER if docker else _OCI_LAYER
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor(_DOCKER_CONFIG if docker else _OCI_CONFIG, config),
        "layers": [_descriptor(layer_type, layer) for layer in layers],
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    return SampleManifest(
        media_type,
        _json(manifest),
        blobs={digest_of(blob): blob for blob in (config, *layers)},
        platform={"architecture": architecture, "os": system},
    )


def make_index(
    children: Iterable[SampleManifest],
    *,
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> SampleManifest:
    """Return an index (or manifest list) of images or of other indexes."""
    below = tuple(children)
    media_type = DOCKER_LIST if docker else OCI_INDEX
    index: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [child.descriptor for child in below],
    }
    if annotations:
        index["annotations"] = dict(annotations)
    return SampleManifest(media_type, _json(index), children=below)


def make_artifact(
    content: bytes,
    artifact_type: str,
    *,
    subject: SampleManifest | None = None,
    annotations: Mapping[str, str] | None = None,
) -> SampleManifest:
    """Return an artifact, such as a signature or an SBOM, that may refer to a subject."""
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "artifactType": artifact_type,
        "config": _descriptor(_EMPTY_TYPE, _EMPTY),
        "layers": [_descriptor(artifact_type, content)],
    }
    if subject is not None:
        manifest["subject"] = _descriptor(subject.media_type, subject.content)
    if annotations:
        manifest["annotations"] = dict(annotations)
    return SampleManifest(
        OCI_IMAGE,
        _json(manifest),
        blobs={digest_of(blob): blob for blob in (_EMPTY, content)},
    )


def sample_image(
    seed: str = "sample",
    *,
    architectures: Sequence[str] = ("amd64", "arm64"),
    layers: int = 3,
    layer_bytes: int = 4096,
    docker: bool = False,
) -> SampleManifest:
    """Return a multi-architecture image whose first layer all architectures share.

    `layer_bytes` is about what a layer weighs. Another seed is another image.
    """
    images = []
    for architecture in architectures:
        names = [f"{seed}/base", *(f"{seed}/{architecture}/{n}" for n in range(1, layers))]
        made = [
            make_layer({f"app/{name.replace('/', '-')}.bin": noise(name, layer_bytes)})
            for name in names
        ]
        images.append(make_image(made, architecture=architecture, docker=docker))
    return make_index(images, docker=docker)


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()
