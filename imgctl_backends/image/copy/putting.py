"""Putting manifests, and bringing what the destination then says that it misses."""

from __future__ import annotations

from imgctl_backends.image.blobs.schedule import Schedule
from imgctl_backends.image.content.graph import Manifests
from imgctl_backends.image.content.manifests import Manifest
from imgctl_backends.image.copy.looking import holds
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.faults import BlobUnknown, Fault
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.retry import Retry
from imgctl_core.errors import EndpointFailed


class ManifestPut:
    """Puts manifests of one item. With `deep` it reads what is there before it trusts it."""

    def __init__(
        self,
        manifests: Manifests,
        schedule: Schedule,
        flight: Flight,
        source: Place,
        destination: Place,
        *,
        deep: bool,
    ) -> None:
        self._manifests = manifests
        self._flight = flight
        self._source = source
        self._destination = destination
        self._schedule = schedule
        self._deep = deep

    def by_digest(self, digest: str) -> None:
        """Put a manifest under its digest, unless it is there."""
        if not self._there(digest):
            self.put(digest, digest)

    def put(self, digest: str, reference: str) -> bool:
        """Put a manifest. Returns what `Repository.put_manifest` does.

        Raises:
            TagRefused: the tag is immutable.
            ImgctlError: it can't be done.
        """
        manifest = self._manifests.read(self._flight, self._source, digest)
        log = self._flight.context.log
        try:
            return self._patiently(manifest, reference)
        except BlobUnknown as unknown:
            log.info("%s misses part of %s: %s", self._destination, digest, unknown)
        try:
            self._heal(manifest)
            return self._patiently(manifest, reference)
        except BlobUnknown as unknown:
            raise EndpointFailed(
                f"the registry {self._destination.registry} keeps missing a part of "
                f"{self._destination.name}@{digest} that it says it has ({unknown.detail})"
            ) from unknown

    def _there(self, digest: str) -> bool:
        if self._deep:
            return holds(self._flight, self._destination, digest)
        return self._destination.find(self._flight, digest) is not None

    def _patiently(self, manifest: Manifest, reference: str) -> bool:
        # ECR's validator lags behind its own answer to an upload by some hundred ms.
        retry = Retry(self._flight, self._destination.registry.settings)
        while True:
            try:
                return self._destination.put_manifest(self._flight, reference, manifest)
            except BlobUnknown as unknown:
                fault = Fault(str(self._destination.registry), unknown.detail, lasting=True)
                if not retry.again(fault):
                    raise

    def _heal(self, manifest: Manifest) -> None:
        """Bring what a manifest points at, trusting nothing that was seen before.

        Runs in a worker itself, so one after the other.
        """
        for child in manifest.children:
            inner = self._manifests.read(self._flight, self._source, child.digest)
            self._heal(inner)
            if self._destination.find(self._flight, child.digest) is None:
                self._destination.put_manifest(self._flight, child.digest, inner)
        missed = [
            blob
            for blob in manifest.blobs
            if not blob.foreign or self._source.has_blob(self._flight, blob)
        ]
        for blob in missed:
            self._schedule.sightings.forget(self._destination, blob)
        # As optional ones: an attachment's must not disturb what else is under way.
        refused = self._schedule.bring(
            self._flight, self._source, self._destination, (), optional=missed
        )
        for why in refused.values():
            raise EndpointFailed(f"{self._destination} misses a blob, and can't have it: {why}")
