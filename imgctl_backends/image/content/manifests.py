"""Manifests: what an image is made of, read from bytes that are never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from imgctl_backends.image.content.digests import is_digest
from imgctl_backends.image.content.plain_json import Ambiguous, folded, other_case, read_json
from imgctl_core.errors import EndpointFailed

_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker.distribution.manifest"

OCI_MANIFEST: Final = f"{_OCI}.manifest.v1+json"
OCI_INDEX: Final = f"{_OCI}.index.v1+json"
DOCKER_MANIFEST: Final = f"{_DOCKER}.v2+json"
DOCKER_LIST: Final = f"{_DOCKER}.list.v2+json"

MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})

#: Every kind of manifest that we can copy; others a registry should not send us.
ACCEPT: Final = f"{OCI_MANIFEST}, {OCI_INDEX}, {DOCKER_MANIFEST}, {DOCKER_LIST}"

# Layers that a publisher keeps on a server of its own (image-spec, "Non-Distributable
# Layers"): a registry may do without their bytes.
_FOREIGN = ("application/vnd.oci.image.layer.nondistributable.", ".foreign.diff.")

_KEYS = folded(
    "schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "artifactType"
)
_ENTRY_KEYS = folded("mediaType", "digest", "size", "urls", "data")

#: ECR and the distribution registry have no such limit, but no image comes near it.
_MOST_ENTRIES: Final = 10_000
_LARGEST: Final = 2**50


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content: its type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the source holds it, and what it points at.

    `subject` is the digest of the manifest that it refers to, if any. `artifact_type` and
    `annotations` are what a list of referrers says of it (image-spec, "Manifest").
    """

    digest: str
    media_type: str
    content: bytes
    blobs: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()
    subject: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


def parse_manifest(digest: str, content: bytes, content_type: str) -> Manifest:
    """Read a manifest of one of the four types.

    `content_type` is the header's, for OCI manifests that don't say what they are.

    Raises:
        EndpointFailed: it is none of them, or malformed.
    """
    try:
        data = read_json(content)
    except Ambiguous as error:
        raise _bad(digest, str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _bad(digest, "it is no JSON") from error
    if not isinstance(data, dict):
        raise _bad(digest, "it is no JSON object")
    _refuse_other_case(digest, data, _KEYS)
    sent_as = content_type.partition(";")[0].strip().lower()
    media_type = data.get("mediaType", sent_as)
    if media_type not in MANIFESTS | INDEXES or data.get("schemaVersion") != 2:
        raise _bad(digest, f"its type is {str(media_type)[:100]!r}, which we can't copy")
    # A document that can be read both ways could mean one image to us and another to
    # whoever runs it.
    if "manifests" in data and ("layers" in data or "config" in data):
        raise _bad(digest, "it is an index and an image at once")
    if media_type in INDEXES:
        entries = _descriptors(digest, data.get("manifests"))
        children = tuple(entry for entry in entries if entry.media_type in MANIFESTS | INDEXES)
        blobs = tuple(entry for entry in entries if entry.media_type not in MANIFESTS | INDEXES)
        return Manifest(digest, media_type, content, blobs, children, **_referring(data, ""))
    config = _descriptors(digest, [data.get("config")])
    blobs = config + _descriptors(digest, data.get("layers"))
    said = _referring(data, config[0].media_type)
    return Manifest(digest, media_type, content, blobs, **said)


def texts(value: Any) -> dict[str, str]:
    """Return annotations, without what is no text."""
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if isinstance(v, str)}


def _referring(data: dict[str, Any], config_type: str) -> dict[str, Any]:
    """Return what a manifest says as a referrer; nonsense there harms nobody but itself."""
    subject, said = data.get("subject"), data.get("artifactType")
    named = subject.get("digest") if isinstance(subject, dict) else None
    return {
        "subject": str(named) if is_digest(named) else "",
        "artifact_type": said if isinstance(said, str) and said else config_type,
        "annotations": texts(data.get("annotations")),
    }


def _descriptors(digest: str, entries: Any) -> tuple[Descriptor, ...]:
    if not isinstance(entries, list) or len(entries) > _MOST_ENTRIES:
        raise _bad(digest, "its list of contents is missing or too long")
    return tuple(parse_descriptor(digest, entry) for entry in entries)


def parse_descriptor(digest: str, entry: Any) -> Descriptor:
    """Read one entry of the manifest that `digest` names.

    Raises:
        EndpointFailed: it is no descriptor that we could follow.
    """
    if not isinstance(entry, dict):
        raise _bad(digest, "one of its entries is no descriptor")
    _refuse_other_case(digest, entry, _ENTRY_KEYS)
    media_type, named, size = entry.get("mediaType"), entry.get("digest"), entry.get("size")
    if not isinstance(media_type, str):
        raise _bad(digest, "one of its entries has no type")
    if not is_digest(named):
        raise _bad(digest, "one of its entries has a digest that we can't check")
    if type(size) is not int or not 0 <= size <= _LARGEST:
        raise _bad(digest, "one of its entries has no usable size")
    foreign = any(mark in media_type for mark in _FOREIGN)
    return Descriptor(media_type, str(named), size, foreign)


def _refuse_other_case(digest: str, data: dict[str, Any], names: dict[str, str]) -> None:
    odd = other_case(data, names)
    if odd is not None:
        taken_for = names[odd.casefold()]
        raise _bad(digest, f"it has {odd[:40]!r}, which some readers take for {taken_for!r}")


def _bad(digest: str, why: str) -> EndpointFailed:
    return EndpointFailed(f"the manifest {digest} can't be promoted: {why}")
