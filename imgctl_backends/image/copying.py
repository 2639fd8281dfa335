"""The copy engine: a promotion of one image, phase by phase."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from imgctl_backends.image.blobs import BlobCopy
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.faults import BlobUnknown, Fault, TagRefused
from imgctl_backends.image.flight import Flight
from imgctl_backends.image.graph import Manifests, read_graph
from imgctl_backends.image.manifests import Descriptor, Manifest
from imgctl_backends.image.places import Home, Place, open_home, place_in
from imgctl_backends.image.planning import (
    conflict,
    immutable_tag,
    make_plan,
    published_as,
    unpack,
)
from imgctl_backends.image.retry import Retry
from imgctl_backends.image.workers import Workers
from imgctl_core.context import Context
from imgctl_core.errors import (
    ArtifactNotFound,
    EndpointFailed,
    EndpointNotFound,
    VerificationFailed,
)
from imgctl_core.models import Plan, PromotionItem

T = TypeVar("T")


class CopyEngine:
    """Copies images between the registries of the environments, over the wire itself."""

    def __init__(self, settings: ImageSettings, endpoints: Mapping[str, ImageEndpoint]) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._workers = Workers(settings.jobs)
        self._manifests = Manifests()
        self._lock = threading.Lock()
        self._registries: dict[str, Home] = {}

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        """Resolve the source once, and look at the destination: two requests, in parallel."""
        source, destination = self._ends(item)
        with Flight(context) as flight:
            lookups: list[Callable[[], str | None]] = [
                partial(_resolve, flight, source, item),
                partial(destination.find, flight, published_as(item)),
            ]
            found, current = self._workers.ask(flight, lookups)
            digest = found or ""
            if current == digest:
                return Plan(item, digest, current)
            if current is not None and not item.replace:
                raise conflict(item, destination, digest, current)
            graph = read_graph(self._workers, self._manifests, flight, source, digest)
            wanted = self._distributable(flight, source, graph.blobs)
            there = self._workers.ask(
                flight, [partial(destination.has_blob, flight, blob) for blob in wanted]
            )
        return make_plan(
            item, destination, digest, current, graph, list(zip(wanted, there, strict=True))
        )

    def stage(self, plan: Plan, context: Context) -> None:
        """Bring blobs and children. Nothing is visible yet but by digest."""
        source, destination = self._ends(plan.item)
        levels, blobs, present = unpack(plan)
        with Flight(context) as flight:
            context.progress.total(sum(blob.size for blob in (*blobs, *present)))
            context.progress.present(sum(blob.size for blob in present))
            self._copy(flight, source, destination, blobs)
            for level in levels:
                self._workers.ask(
                    flight,
                    [
                        partial(self._child, flight, source, destination, plan, child.digest)
                        for child in level
                    ],
                )

    def publish(self, plan: Plan, context: Context) -> None:
        """Put the root manifest, under its tag if it has one."""
        source, destination = self._ends(plan.item)
        reference = published_as(plan.item)
        with Flight(context) as flight:
            now = self._one(flight, partial(destination.find, flight, reference))
            if now == plan.digest:
                return
            if now is not None and not plan.item.replace:
                raise conflict(plan.item, destination, plan.digest, now)
            try:
                self._one(
                    flight,
                    partial(self._put, flight, source, destination, plan, plan.digest, reference),
                )
            except TagRefused as refused:
                now = self._one(flight, partial(destination.find, flight, reference))
                if now != plan.digest:
                    raise immutable_tag(plan, destination, now, refused) from refused

    def verify(self, plan: Plan, context: Context) -> str:
        """Read what the destination serves now, and compute its digest."""
        _, destination = self._ends(plan.item)
        with Flight(context) as flight:
            found = self._one(
                flight, partial(destination.digest_of, flight, published_as(plan.item))
            )
        if found is None:
            raise VerificationFailed(
                f"{destination} does not show {plan.item.ref} after it was put there"
            )
        return found

    def close(self) -> None:
        self._workers.close()
        for registry in self._registries.values():
            registry.close()

    def _child(
        self,
        flight: Flight,
        source: Place,
        destination: Place,
        plan: Plan,
        digest: str,
    ) -> None:
        if destination.find(flight, digest) is None:
            self._put(flight, source, destination, plan, digest, digest)

    def _put(
        self,
        flight: Flight,
        source: Place,
        destination: Place,
        plan: Plan,
        digest: str,
        reference: str,
    ) -> None:
        """Put a manifest, and bring what the destination then says that it misses."""
        manifest = self._manifests.read(flight, source, digest)
        try:
            self._put_patiently(flight, destination, manifest, reference)
            return
        except BlobUnknown as unknown:
            flight.context.log.info("%s misses part of %s: %s", destination, digest, unknown)
        try:
            self._heal(flight, source, destination, manifest)
            self._put_patiently(flight, destination, manifest, reference)
        except BlobUnknown as unknown:
            raise EndpointFailed(
                f"the registry {destination.registry} keeps missing a part of {plan.item.ref} "
                f"that it says it has ({unknown.detail})"
            ) from unknown

    def _put_patiently(
        self, flight: Flight, destination: Place, manifest: Manifest, reference: str
    ) -> None:
        # ECR's validator lags behind its own answer to an upload by some hundred ms.
        retry = Retry(flight, self._settings)
        while True:
            try:
                destination.put_manifest(flight, reference, manifest)
                return
            except BlobUnknown as unknown:
                fault = Fault(str(destination.registry), unknown.detail, lasting=True)
                if not retry.again(fault):
                    raise

    def _heal(self, flight: Flight, source: Place, destination: Place, manifest: Manifest) -> None:
        """Bring what a manifest points at, trusting nothing that was seen before.

        Runs in a worker itself, so one after the other.
        """
        for child in manifest.children:
            inner = self._manifests.read(flight, source, child.digest)
            self._heal(flight, source, destination, inner)
            if destination.find(flight, child.digest) is None:
                destination.put_manifest(flight, child.digest, inner)
        copy = BlobCopy(source, destination, flight, _neighbour(source, destination))
        for blob in manifest.blobs:
            if not blob.foreign or source.has_blob(flight, blob):
                copy.copy(blob)

    def _copy(
        self,
        flight: Flight,
        source: Place,
        destination: Place,
        blobs: list[Descriptor],
    ) -> None:
        copy = BlobCopy(source, destination, flight, _neighbour(source, destination))
        self._workers.copy(flight, [partial(copy.copy, blob) for blob in blobs])

    def _distributable(
        self, flight: Flight, source: Place, blobs: tuple[Descriptor, ...]
    ) -> list[Descriptor]:
        """Leave out the layers that a source need not have, and does not."""
        foreign = [blob for blob in blobs if blob.foreign]
        held = self._workers.ask(
            flight, [partial(source.has_blob, flight, blob) for blob in foreign]
        )
        absent = {blob.digest for blob, there in zip(foreign, held, strict=True) if not there}
        return [blob for blob in blobs if blob.digest not in absent]

    def _one(self, flight: Flight, task: partial[T]) -> T:
        return self._workers.ask(flight, [task])[0]

    def _ends(self, item: PromotionItem) -> tuple[Place, Place]:
        source, destination = self._registry(item.source), self._registry(item.destination)
        name = item.ref.name
        return (
            place_in(source, name, push=False),
            place_in(destination, name, push=True),
        )

    def _registry(self, environment: str) -> Home:
        with self._lock:
            if environment not in self._registries:
                if environment not in self._endpoints:
                    raise EndpointNotFound(f"the environment {environment} has no registry")
                self._registries[environment] = open_home(
                    self._endpoints[environment], self._settings
                )
            return self._registries[environment]


def _resolve(flight: Flight, source: Place, item: PromotionItem) -> str:
    ref = item.ref
    digest = source.find(flight, ref.version or ref.digest or "")
    if digest is None:
        raise ArtifactNotFound(
            f"the source {item.source} has no image {ref} (looked in {source})",
            fix="push it there first, or check the spelling",
        )
    if ref.digest is not None and digest != ref.digest:
        raise ArtifactNotFound(
            f"in the source {item.source} the tag {ref.name}:{ref.version} is {digest}, "
            f"not {ref.digest}",
            fix="the tag was moved: find out which of the two is meant",
        )
    return digest


def _neighbour(source: Place, destination: Place) -> str | None:
    """Return the source's repository when the destination may mount from it."""
    one, other = source.registry, destination.registry
    same = one.address.place[:2] == other.address.place[:2] and one.identity == other.identity
    return source.name if same else None
