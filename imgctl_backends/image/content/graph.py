"""Everything that an image consists of, read from its manifests down."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imgctl_backends.image.content.digests import sha256
from imgctl_backends.image.content.manifests import Descriptor, Manifest, parse_manifest
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import EndpointFailed

#: Real images nest indexes once, if at all.
DEEPEST: Final = 8

_REMEMBERED_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Graph:
    """An image in the order in which it must be put.

    `levels` are the manifests below the root, deepest first; `blobs` are largest first.
    """

    levels: tuple[tuple[Descriptor, ...], ...] = ()
    blobs: tuple[Descriptor, ...] = ()

    @property
    def manifests(self) -> tuple[Descriptor, ...]:
        """Return all manifests below the root."""
        return tuple(child for level in self.levels for child in level)


class Manifests:
    """Reads manifests, and remembers the last ones: their digests say what they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], Manifest] = OrderedDict()
        self._bytes = 0

    def read(self, flight: Flight, repository: Place, digest: str) -> Manifest:
        """Return a manifest of the repository.

        Raises:
            ImgctlError: it is not there, or can't be used.
        """
        key = (str(repository), digest)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        return self._keep(repository, repository.manifest(flight, digest))

    def at(self, flight: Flight, repository: Place, tag: str) -> Manifest | None:
        """Return the manifest under a tag, None when there is no such tag.

        Raises:
            EndpointFailed: it can't be used.
        """
        found = repository.read(flight, tag)
        if found is None:
            return None
        content, media_type = found
        return self._keep(repository, parse_manifest(sha256(content), content, media_type))

    def _keep(self, repository: Place, manifest: Manifest) -> Manifest:
        key = (str(repository), manifest.digest)
        with self._lock:
            if key not in self._known:
                self._known[key] = manifest
                self._bytes += len(manifest.content)
            while self._bytes > _REMEMBERED_BYTES:
                _, dropped = self._known.popitem(last=False)
                self._bytes -= len(dropped.content)
        return manifest


def order(manifests: Mapping[str, Manifest], root: str) -> Graph | None:
    """Return the graph below a manifest, None when a part of it was not read.

    Raises:
        EndpointFailed: the image nests too deep.
    """
    depth_of: dict[str, int] = {}
    found: dict[str, Descriptor] = {}
    blobs: dict[str, Descriptor] = {}
    level = [root]
    for depth in range(DEEPEST + 1):
        below: dict[str, Descriptor] = {}
        for digest in level:
            manifest = manifests.get(digest)
            if manifest is None:
                return None
            blobs.update((blob.digest, blob) for blob in manifest.blobs)
            below.update((child.digest, child) for child in manifest.children)
        if not below:
            break
        found.update(below)
        # What is named on several levels is put with the deepest: before all its parents.
        depth_of.update((digest, depth) for digest in below)
        level = list(below)
    else:
        raise too_deep(root)
    levels = [
        tuple(found[digest] for digest, at in depth_of.items() if at == depth)
        for depth in sorted(set(depth_of.values()), reverse=True)
    ]
    ordered = sorted(blobs.values(), key=lambda blob: (-blob.size, blob.digest))
    return Graph(tuple(levels), tuple(ordered))


def too_deep(root: str) -> EndpointFailed:
    return EndpointFailed(f"the image {root} nests its indexes too deep to be promoted")
