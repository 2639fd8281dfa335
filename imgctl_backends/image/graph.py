"""Everything that an image consists of, read from its manifests down."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Final

from imgctl_backends.image.flight import Flight
from imgctl_backends.image.manifests import Descriptor, Manifest
from imgctl_backends.image.places import Place
from imgctl_backends.image.workers import Workers
from imgctl_core.errors import EndpointFailed

#: Real images nest indexes once, if at all.
_DEEPEST: Final = 8
_MOST_MANIFESTS: Final = 10_000

_REMEMBERED_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Graph:
    """An image in the order in which it must be put.

    `levels` are the manifests below the root, deepest first; `blobs` are largest first.
    """

    levels: tuple[tuple[Descriptor, ...], ...]
    blobs: tuple[Descriptor, ...]


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
        manifest = repository.manifest(flight, digest)
        with self._lock:
            if key not in self._known:
                self._known[key] = manifest
                self._bytes += len(manifest.content)
            while self._bytes > _REMEMBERED_BYTES:
                _, dropped = self._known.popitem(last=False)
                self._bytes -= len(dropped.content)
        return manifest


def read_graph(
    workers: Workers, manifests: Manifests, flight: Flight, repository: Place, root: str
) -> Graph:
    """Read all manifests of an image.

    Raises:
        ArtifactNotFound: an index names a manifest that the registry does not have.
        EndpointFailed: the image nests too deep, or is too large to be one.
    """
    depth_of: dict[str, int] = {}
    found: dict[str, Descriptor] = {}
    blobs: dict[str, Descriptor] = {}
    level = [root]
    for depth in range(_DEEPEST + 1):
        read = workers.ask(
            flight, [partial(manifests.read, flight, repository, digest) for digest in level]
        )
        below: dict[str, Descriptor] = {}
        for manifest in read:
            blobs.update((blob.digest, blob) for blob in manifest.blobs)
            below.update((child.digest, child) for child in manifest.children)
        if not below:
            break
        found.update(below)
        if len(found) > _MOST_MANIFESTS:
            raise EndpointFailed(f"the image {root} has too many manifests to be promoted")
        # What is named on several levels is put with the deepest: before all its parents.
        depth_of.update((digest, depth) for digest in below)
        level = list(below)
    else:
        raise EndpointFailed(f"the image {root} nests its indexes too deep to be promoted")
    levels = [
        tuple(found[digest] for digest, at in depth_of.items() if at == depth)
        for depth in sorted(set(depth_of.values()), reverse=True)
    ]
    ordered = sorted(blobs.values(), key=lambda blob: (-blob.size, blob.digest))
    return Graph(tuple(levels), tuple(ordered))
