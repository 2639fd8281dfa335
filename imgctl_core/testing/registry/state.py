"""What the registry holds: repositories, their blobs, manifests, tags and referrers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.storage import Storage


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest, byte for byte as it came, and what the referrers API tells of it."""

    digest: str
    media_type: str
    content: bytes
    subject: str = ""
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)

    def descriptor(self) -> dict[str, object]:
        """Return what the referrers API lists."""
        listed: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.content),
        }
        if self.artifact_type:
            listed["artifactType"] = self.artifact_type
        if self.annotations:
            listed["annotations"] = self.annotations
        return listed


@dataclass(slots=True)
class Repository:
    """One repository. A blob that another one holds is unknown here."""

    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def resolve(self, reference: str) -> Manifest | None:
        """Return the manifest of a tag or digest."""
        return self.manifests.get(self.tags.get(reference, reference))


class State:
    """All repositories, behind one lock: no request is long while it holds it."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.lock = threading.RLock()
        self._repositories: dict[str, Repository] = {}

    def names(self) -> tuple[str, ...]:
        with self.lock:
            return tuple(sorted(self._repositories))

    def repository(self, name: str) -> Repository:
        """Return a repository for reading, or raise NAME_UNKNOWN."""
        with self.lock:
            if name not in self._repositories:
                raise RegistryError("NAME_UNKNOWN", f"there is no repository {name}")
            return self._repositories[name]

    def make(self, name: str) -> Repository:
        """Return a repository for writing; the first write makes it."""
        with self.lock:
            return self._repositories.setdefault(name, Repository())

    def has_blob(self, name: str, digest: str) -> bool:
        with self.lock:
            found = self._repositories.get(name)
            return found is not None and digest in found.blobs

    def holders(self, digest: str) -> tuple[str, ...]:
        """Return the names of the repositories that hold a blob."""
        with self.lock:
            return tuple(n for n, held in self._repositories.items() if digest in held.blobs)

    def forget_blob(self, name: str, digest: str) -> None:
        """Take a blob out of one repository, and out of the storage with the last."""
        with self.lock:
            self._repositories[name].blobs.discard(digest)
            if not self.holders(digest):
                self.storage.drop(digest)

    def referrers(
        self, name: str, subject: str, keep: Callable[[Manifest], bool]
    ) -> list[Manifest]:
        """Return the manifests whose subject that digest is, sorted by digest."""
        with self.lock:
            return sorted(
                (m for m in self._manifests(name) if m.subject == subject and keep(m)),
                key=lambda manifest: manifest.digest,
            )

    def _manifests(self, name: str) -> Iterator[Manifest]:
        found = self._repositories.get(name)
        return iter(list(found.manifests.values()) if found else ())
