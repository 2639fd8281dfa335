"""The copy engine: a promotion of one image, phase by phase."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from imgctl_backends.image.blobs.schedule import Schedule
from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.content.graph import Manifests
from imgctl_backends.image.copy.attaching import Attach
from imgctl_backends.image.copy.planning import (
    conflict,
    immutable_tag,
    make_plan,
    published_as,
    unpack,
)
from imgctl_backends.image.copy.preparing import (
    create_repository,
    lacks_repository,
    with_creation,
)
from imgctl_backends.image.copy.putting import ManifestPut
from imgctl_backends.image.copy.surveying import Survey, check_whole, referrers_wanted
from imgctl_backends.image.copy.taglists import TagLists
from imgctl_backends.image.distribution.fallback import FallbackTags
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.places import Home, Place, open_home, place_in
from imgctl_backends.image.wire.faults import TagRefused
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.rates import Rates
from imgctl_core.context import Context
from imgctl_core.errors import (
    ArtifactNotFound,
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
        self._workers = Workers(settings.requests)
        self._schedule = Schedule(settings)
        self._manifests = Manifests()
        self._tag_lists = TagLists()
        self._fallback = FallbackTags()
        self._lock = threading.Lock()
        self._registries: dict[str, Home] = {}
        self._rates = Rates()

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        """Resolve the source once, and look at the destination: two requests, in parallel.

        That is all for an image that is there, unless more was asked for.
        """
        source, destination = self._ends(item)
        travel = referrers_wanted(item, self._settings)
        with Flight(context) as flight:
            lookups: list[Callable[[], str | None]] = [
                partial(_resolve, flight, source, item),
                partial(destination.find, flight, published_as(item)),
            ]
            found, current = self._workers.ask(flight, lookups)
            digest = found or ""
            if current == digest and not item.deep and travel != "refresh":
                return Plan(item, digest, current)
            if current not in (None, digest) and not item.replace:
                raise conflict(item, destination, digest, current or "")
            lacking = current is None and self._one(
                flight, partial(lacks_repository, flight, destination)
            )
            survey = Survey(self._workers, self._manifests, self._tag_lists, self._settings)
            work = survey.run(
                flight, source, destination, item, digest, current, lacking=bool(lacking)
            )
        self._schedule.sightings.note_absent(destination, (*work.missing, *work.optional))
        plan = make_plan(item, destination, digest, current, work)
        return with_creation(plan, destination) if lacking else plan

    def stage(self, plan: Plan, context: Context) -> None:
        """Bring blobs, children and attachments. No tag of the image is put yet."""
        source, destination = self._ends(plan.item)
        work = unpack(plan)
        present = sum(blob.size for blob in (*work.present, *work.optional_present))
        with Flight(context) as flight:
            coming = sum(blob.size for blob in (*work.missing, *work.optional))
            context.progress.total(coming + present)
            context.progress.present(present)
            self._one(flight, partial(create_repository, flight, destination, plan))
            damaged = self._schedule.bring(
                flight, source, destination, work.missing, optional=work.optional
            )
            put = self._put(flight, source, destination, plan)
            for level in work.levels:
                self._workers.ask(flight, [partial(put.by_digest, child.digest) for child in level])
            if work.attachments:
                attach = Attach(
                    self._workers, self._settings, self._fallback, flight, destination, put, plan
                )
                attach.run(work.attachments, damaged)
            # Publishing is a burst: it should not have to read this first.
            self._one(flight, partial(self._manifests.read, flight, source, plan.digest))

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
                put = self._put(flight, source, destination, plan)
                self._one(flight, partial(put.put, plan.digest, reference))
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
            if plan.item.deep:
                check_whole(self._workers, flight, destination, plan)
        return found

    def close(self) -> None:
        self._workers.close()
        self._schedule.close()
        for registry in self._registries.values():
            registry.close()

    def _put(self, flight: Flight, source: Place, destination: Place, plan: Plan) -> ManifestPut:
        return ManifestPut(
            self._manifests, self._schedule, flight, source, destination, deep=plan.item.deep
        )

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
                    self._endpoints[environment], self._settings, self._rates
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
