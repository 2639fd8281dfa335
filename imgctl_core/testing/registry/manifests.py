"""Manifests: looking, reading, pushing with every check, deleting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from imgctl_core.testing.httpd import Request, Response
from imgctl_core.testing.registry.blobs import get_content
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import check_digest, check_tag, digest_of, is_tag
from imgctl_core.testing.registry.state import Manifest, Repository, State

_OCI_IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
_IMAGES: Final = frozenset(
    {_OCI_IMAGE, "application/vnd.docker.distribution.manifest.v2+json"},
)
_INDEXES: Final = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
_MOST_TAGS: Final = 100

#: Asked before a manifest is kept, with the repository's name and what it holds, the
#: manifest and its tags. It raises to refuse; the state's lock is held.
ManifestCheck = Callable[[str, Repository, Manifest, list[str]], None]


@dataclass(frozen=True)
class ManifestRules:
    """What a registry may decide for itself.

    `sparse` accepts manifests whose blobs or children are not there, `immutable_tags`
    refuses to move a tag, `referrers` is whether the registry has that API, `check` may
    refuse for reasons of its own.
    """

    largest: int
    sparse: bool
    immutable_tags: bool
    referrers: bool
    check: ManifestCheck | None = None


def get_manifest(state: State, request: Request, name: str, reference: str) -> Response:
    """Answer GET and HEAD of a manifest."""
    if ":" in reference:
        check_digest(reference)
    with state.lock:
        manifest = state.repository(name).resolve(reference)
    if manifest is None:
        raise RegistryError("MANIFEST_UNKNOWN", f"{name} holds no manifest {reference}")
    return get_content(request, manifest.content, manifest.digest, manifest.media_type)


def delete_manifest(state: State, request: Request, name: str, reference: str) -> Response:
    """Answer DELETE: of a tag alone, or of a manifest with all its tags."""
    if ":" in reference:
        check_digest(reference)
    with state.lock:
        held = state.repository(name)
        if is_tag(reference) and held.tags.pop(reference, ""):
            return Response(202)
        if held.manifests.pop(reference, None) is None:
            raise RegistryError("MANIFEST_UNKNOWN", f"{name} holds no manifest {reference}")
        held.tags = {tag: digest for tag, digest in held.tags.items() if digest != reference}
    return Response(202)


def put_manifest(
    state: State, rules: ManifestRules, request: Request, name: str, reference: str
) -> Response:
    """Answer PUT: by tag, by digest, or by digest with tags as `?tag=` parameters."""
    extra = [value for key, value in request.query if key == "tag"]
    by_digest = ":" in reference
    if by_digest:
        check_digest(reference)
        tags = [check_tag(tag) for tag in dict.fromkeys(extra)]
    else:
        tags = [check_tag(reference)]
    if len(tags) > _MOST_TAGS:
        raise RegistryError("UNSUPPORTED", f"at most {_MOST_TAGS} tags at once", status=414)
    content = request.body.read(rules.largest)
    if content is None:
        raise RegistryError(
            "SIZE_INVALID", f"a manifest has at most {rules.largest} bytes", status=413
        )
    digest = digest_of(content, reference.partition(":")[0] if by_digest else "sha256")
    if by_digest and digest != reference:
        raise RegistryError(
            "DIGEST_INVALID", "the manifest has another digest", details=({"digest": digest},)
        )
    manifest = read_manifest(request.headers.get("Content-Type"), content, digest)
    return _store(state, name, manifest, tags, reference, rules)


def _store(
    state: State,
    name: str,
    manifest: Manifest,
    tags: list[str],
    reference: str,
    rules: ManifestRules,
) -> Response:
    digest = manifest.digest
    with state.lock:
        held = state.make(name)
        if rules.check is not None:
            rules.check(name, held, manifest, tags)
        if not rules.sparse:
            _check_complete(held, manifest)
        for tag in tags:
            if rules.immutable_tags and held.tags.get(tag, digest) != digest:
                raise RegistryError("TAG_INVALID", f"the tag {tag} exists and can't be moved")
        held.manifests[digest] = manifest
        held.tags.update(dict.fromkeys(tags, digest))
    headers: dict[str, str | tuple[str, ...]] = {
        "Location": f"/v2/{name}/manifests/{reference}",
        "Docker-Content-Digest": digest,
    }
    if manifest.subject and rules.referrers:
        headers["OCI-Subject"] = manifest.subject
    if tags and ":" in reference:
        headers["OCI-Tag"] = tuple(tags)
    return Response(201, headers)


def read_manifest(content_type: str, content: bytes, digest: str) -> Manifest:
    """Read what the registry must know of a manifest, of whatever media type.

    Raises:
        RegistryError: MANIFEST_INVALID; its media type is known and it is not of that
            type, or it has none.
    """
    media_type = content_type.partition(";")[0].strip()
    fields = _parse(content)
    own = fields.get("mediaType")
    media_type = media_type or (own if isinstance(own, str) else "")
    if not content or not media_type:
        raise RegistryError("MANIFEST_INVALID", "a manifest has content and a media type")
    if media_type in _IMAGES | _INDEXES:
        if fields.get("schemaVersion") != 2:
            raise RegistryError("MANIFEST_INVALID", "it is no JSON object of schema version 2")
        if own is not None and own != media_type:
            raise RegistryError("MANIFEST_INVALID", "Content-Type and mediaType differ")
        list(_descriptors(fields))
    subject = fields.get("subject")
    return Manifest(
        digest,
        media_type,
        content,
        subject=check_digest(str(subject.get("digest"))) if isinstance(subject, Mapping) else "",
        artifact_type=_artifact_type(media_type, fields),
        annotations=_annotations(fields),
    )


def _parse(content: bytes) -> Mapping[str, object]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _artifact_type(media_type: str, fields: Mapping[str, object]) -> str:
    own = fields.get("artifactType")
    if isinstance(own, str) and own:
        return own
    config = fields.get("config")
    if media_type in _IMAGES and isinstance(config, Mapping):
        return str(config.get("mediaType", ""))
    return ""


def _annotations(fields: Mapping[str, object]) -> dict[str, str]:
    found = fields.get("annotations")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


def parts_of(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Return what a manifest needs, as pairs: config, layers or manifests; the digest."""
    if manifest.media_type not in _IMAGES | _INDEXES:
        return ()
    return tuple(
        (kind, str(descriptor.get("digest")))
        for kind, descriptor in _descriptors(_parse(manifest.content))
        if not _foreign(descriptor)
    )


def missing_parts(held: Repository, manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Return those of a manifest's parts that a repository does not hold."""
    return tuple(
        (kind, digest)
        for kind, digest in parts_of(manifest)
        if digest not in held.blobs and not (kind == "manifests" and digest in held.manifests)
    )


def _check_complete(held: Repository, manifest: Manifest) -> None:
    missing = missing_parts(held, manifest)
    if missing:
        raise RegistryError(
            "MANIFEST_BLOB_UNKNOWN",
            "the manifest names what the repository does not hold",
            details=tuple({"digest": digest} for _, digest in missing),
        )


def _foreign(descriptor: Mapping[str, object]) -> bool:
    media_type = str(descriptor.get("mediaType", ""))
    return ".nondistributable." in media_type or ".foreign." in media_type


def _descriptors(fields: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for kind in ("config", "layers", "manifests"):
        found = fields.get(kind)
        listed = found if isinstance(found, list) else [] if found is None else [found]
        for descriptor in listed:
            if not isinstance(descriptor, Mapping):
                raise RegistryError("MANIFEST_INVALID", f"{kind} holds what is no descriptor")
            check_digest(str(descriptor.get("digest")))
            yield kind, descriptor
