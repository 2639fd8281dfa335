"""The checks of a manifest before ECR takes it, and how late they see a new blob."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from imgctl_core.testing.ecr.repositories import Repositories
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.manifests import missing_parts, parts_of
from imgctl_core.testing.registry.state import Manifest, Repository


@dataclass(frozen=True, slots=True)
class Lag:
    """How long a new blob stays unseen after its 201.

    `looks` of the validator find it absent (puts of manifests that need it, and checks
    of its availability), and for `seconds` all do.
    """

    looks: int = 0
    seconds: float = 0.0


class Validator:
    """Says which blobs are not seen yet, and refuses manifests as ECR does.

    `refuse_same` is whether an immutable tag is refused for the digest, too, that it
    has already. `refused_types` are media types and artifact types that are not taken.
    """

    def __init__(
        self,
        repositories: Repositories,
        account: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lag = Lag()
        self.refuse_same = True
        self.refused_types: frozenset[str] = frozenset()
        self._repositories = repositories
        self._account = account
        self._clock = clock
        self._lock = threading.Lock()
        self._unseen: dict[tuple[str, str], tuple[int, float]] = {}

    def committed(self, name: str, digest: str) -> None:
        """Note that an upload has ended well."""
        lag = self.lag
        if lag != Lag():
            with self._lock:
                self._unseen[name, digest] = (lag.looks, self._clock() + lag.seconds)

    def unseen(self, name: str, digests: Iterable[str]) -> list[str]:
        """Return those blobs that are there and not seen yet. This counts as a look."""
        found = []
        with self._lock:
            for digest in dict.fromkeys(digests):
                looks, due = self._unseen.pop((name, digest), (0, 0.0))
                if looks > 0 or due > self._clock():
                    self._unseen[name, digest] = (looks - 1, due)
                    found.append(digest)
        return found

    def check(self, name: str, held: Repository, manifest: Manifest, tags: list[str]) -> None:
        """Refuse a manifest that ECR would refuse.

        Raises:
            RegistryError: with ECR's code and text.
        """
        if self.refused_types & {manifest.media_type, manifest.artifact_type}:
            raise RegistryError(
                "UNSUPPORTED",
                "Invalid parameter at 'ImageManifest' failed to satisfy constraint: "
                "'Invalid JSON syntax'",
            )
        missing = missing_parts(held, manifest)
        layers = [digest for kind, digest in missing if kind != "manifests"]
        images = [digest for kind, digest in missing if kind == "manifests"]
        layers += self.unseen(name, (d for k, d in parts_of(manifest) if k != "manifests"))
        if layers:
            raise RegistryError("BLOB_UNKNOWN", self._required("Layers", layers, name))
        if images:
            raise RegistryError("MANIFEST_BLOB_UNKNOWN", self._required("Images", images, name))
        self._check_tags(name, held, manifest, tags)

    def _check_tags(self, name: str, held: Repository, manifest: Manifest, tags: list[str]) -> None:
        settings = self._repositories.find(name)
        for tag in tags:
            before = held.tags.get(tag)
            if before is None or settings is None or not settings.is_immutable(tag):
                continue
            if before != manifest.digest or self.refuse_same:
                raise RegistryError(
                    "TAG_INVALID",
                    f"The image tag '{tag}' already exists in the '{name}' repository and "
                    "cannot be overwritten because the tag is immutable.",
                )

    def _required(self, what: str, digests: list[str], name: str) -> str:
        return (
            f"{what} with digests '[{', '.join(digests)}]' required for pushing image into "
            f"repository with name '{name}' in the registry with id '{self._account}' do not exist"
        )
