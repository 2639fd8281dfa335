"""The promoter of kind `image`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import ClassVar, Protocol

from imgctl_backends.image import references
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_core.context import Context
from imgctl_core.models import ArtifactRef, Plan, PromotionItem
from imgctl_core.promoter import Promoter

_LOG = logging.getLogger("imgctl.plugin.image")


class Engine(Protocol):
    """What does a promoter's work. The calls are those of `Promoter`."""

    def plan(self, item: PromotionItem, context: Context) -> Plan: ...
    def stage(self, plan: Plan, context: Context) -> None: ...
    def publish(self, plan: Plan, context: Context) -> None: ...
    def verify(self, plan: Plan, context: Context) -> str: ...
    def close(self) -> None: ...


class ImagePromoter(Promoter[ImageEndpoint, ImageSettings]):
    """Promotes container images from registry to registry, byte for byte."""

    kind = references.KIND
    family = "REGISTRY"
    family_field = "registry"
    variables: ClassVar[Mapping[str, str]] = {
        "ecr_region": "IMGCTL_ECR_REGION",
        "engine": "IMGCTL_IMAGE_ENGINE",
    }
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"referrers": ("all", "none", "refresh")}
    api_version = (1, 0)

    Endpoint = ImageEndpoint
    Settings = ImageSettings

    def __init__(self, settings: ImageSettings, endpoints: Mapping[str, ImageEndpoint]) -> None:
        """Take settings and endpoints.

        Raises:
            InvalidSetting: crane is to copy, and is not there or can't do it.
        """
        super().__init__(settings, endpoints)
        self._lock = threading.Lock()
        self._made: Engine | None = None
        for name, endpoint in endpoints.items():
            _warn_of_regions(name, endpoint, settings)
        if settings.engine == "crane":
            from imgctl_backends.image.crane.engine import CraneEngine

            self._made = CraneEngine(settings, endpoints)

    def parse(self, text: str) -> ArtifactRef:
        return references.parse(text)

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        return self._engine().plan(item, context)

    def stage(self, plan: Plan, context: Context) -> None:
        self._engine().stage(plan, context)

    def publish(self, plan: Plan, context: Context) -> None:
        self._engine().publish(plan, context)

    def verify(self, plan: Plan, context: Context) -> str:
        return self._engine().verify(plan, context)

    def describe(self, endpoint: ImageEndpoint) -> str:
        return endpoint.registry

    def same(self, source: ImageEndpoint, destination: ImageEndpoint) -> bool:
        """Compare places: who we are there makes no difference."""
        return source.address.place == destination.address.place

    def close(self) -> None:
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    def _engine(self) -> Engine:
        # urllib3 and the rest are imported by the first promotion, not at the start.
        from imgctl_backends.image.copy.copying import CopyEngine

        with self._lock:
            if self._made is None:
                self._made = CopyEngine(self.settings, self.endpoints)
            return self._made


def _warn_of_regions(name: str, endpoint: ImageEndpoint, settings: ImageSettings) -> None:
    from imgctl_backends.image.ecr.hosts import parse_host

    host = parse_host(endpoint.address.host)
    if host is None:
        return
    said = endpoint.region
    if said is None and "ecr_region" in settings.model_fields_set:
        said = settings.ecr_region
    if said is not None and said != host.region:
        _LOG.warning(
            "environment %s: the region %s of the ECR host name is used, not %s",
            name,
            host.region,
            said,
        )
