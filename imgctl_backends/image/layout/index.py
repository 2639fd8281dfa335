"""`index.json` of an OCI image layout: what it holds, and under which names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from imgctl_backends.image.content.digests import is_digest
from imgctl_backends.image.content.manifests import OCI_INDEX, Manifest
from imgctl_backends.image.content.plain_json import read_json
from imgctl_core.errors import EndpointFailed

#: Under this annotation a layout keeps tags (image-spec, "Pre-Defined Annotation Keys").
REF_NAME: Final = "org.opencontainers.image.ref.name"

_OURS: Final = {"mediaType", "digest", "size"}


class LayoutIndex:
    """The entries of one layout. What we don't know in them is kept as it is."""

    def __init__(self, where: str, content: bytes | None) -> None:
        """Read an `index.json`, None for one that is still to be made.

        Raises:
            EndpointFailed: it is none.
        """
        self._where = where
        self._document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [],
        }
        if content is not None:
            self._document = _document(where, content)
        self._entries: list[dict[str, Any]] = self._document["manifests"]

    @property
    def content(self) -> bytes:
        return json.dumps(self._document, indent=2).encode()

    @property
    def digests(self) -> list[str]:
        """Return what it names, with a tag or without."""
        return [entry["digest"] for entry in self._entries]

    @property
    def tags(self) -> list[str]:
        return sorted({name for entry in self._entries if (name := _ref_name(entry))})

    def tagged(self, repository: str, tag: str) -> str | None:
        """Return the digest under a tag, None when there is no such tag.

        `crane pull --annotate-ref` writes the whole reference instead of the tag: that
        counts when it names this repository, and nothing has the tag itself.

        Raises:
            EndpointFailed: the tag is there twice, for different things.
        """
        whole = f"{repository}:{tag}"
        names = [(_ref_name(entry), str(entry["digest"])) for entry in self._entries]
        found = {digest for name, digest in names if name == tag} or {
            digest for name, digest in names if f"/{name}".endswith(f"/{whole}")
        }
        if len(found) > 1:
            raise EndpointFailed(
                f"{self._where} has the tag {tag} for {len(found)} different images"
            )
        return found.pop() if found else None

    def put(self, manifest: Manifest, tag: str | None) -> None:
        """Name a manifest by a tag, or by nothing but its digest.

        What it contains needs no entry of its own any more.
        """
        below = {child.digest for child in manifest.children}
        kept = [
            entry
            for entry in self._entries
            if _ref_name(entry) != tag or tag is None
            if not _nameless(entry) or entry["digest"] not in {*below, manifest.digest}
        ]
        if tag is not None or manifest.digest not in {entry["digest"] for entry in kept}:
            entry: dict[str, Any] = {
                "mediaType": manifest.media_type,
                "digest": manifest.digest,
                "size": len(manifest.content),
            }
            if tag is not None:
                entry["annotations"] = {REF_NAME: tag}
            kept.append(entry)
        self._entries[:] = kept


def _document(where: str, content: bytes) -> dict[str, Any]:
    try:
        document = read_json(content)
    except (ValueError, RecursionError) as error:
        raise EndpointFailed(f"index.json of {where} is no JSON") from error
    entries = document.get("manifests") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not _all_descriptors(entries):
        raise EndpointFailed(f"index.json of {where} is no index of an OCI image layout")
    return dict(document)


def _all_descriptors(entries: Iterable[Any]) -> bool:
    return all(isinstance(entry, dict) and is_digest(entry.get("digest")) for entry in entries)


def _ref_name(entry: dict[str, Any]) -> str:
    annotations = entry.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else ""


def _nameless(entry: dict[str, Any]) -> bool:
    return set(entry) <= _OURS
