"""Finds out from an environment's settings how a build goes live there."""

from __future__ import annotations

from typing import Final

from imgctl_backends.spa.endpoint import SpaEndpoint, SpaSettings
from imgctl_backends.spa.live.caches import Caches
from imgctl_backends.spa.live.calls import called
from imgctl_backends.spa.live.cloud import Clouds
from imgctl_backends.spa.live.kvs import KeyValueStore
from imgctl_backends.spa.live.mode import Mode
from imgctl_backends.spa.live.objects import ObjectStore
from imgctl_backends.spa.live.pointing import Pointing
from imgctl_backends.spa.live.root import Root
from imgctl_backends.spa.live.settings import Live
from imgctl_backends.spa.live.switch import Switch
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.references import Place, bucket_name
from imgctl_backends.spa.wire.bucket import Bucket, Buckets
from imgctl_backends.spa.wire.faults import unreachable
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context, PromotionItem
from imgctl_core.errors import EndpointNotFound

#: Seconds that opening the bucket may take before an endpoint counts as unreachable.
_OPEN_WITHIN: Final = 20.0


class Opening:
    """Opens the places where builds go live, and keeps the ways to CloudFront."""

    def __init__(self, settings: SpaSettings, buckets: Buckets, order: Order) -> None:
        self._settings = settings
        self._buckets = buckets
        self._order = order
        self._clouds = Clouds()

    def switch(
        self, item: PromotionItem, endpoint: SpaEndpoint, patience: Patience, context: Context
    ) -> Switch:
        """Return what makes versions of the item's build live in its environment.

        Raises:
            EndpointNotFound: the environment's settings don't say what live means there.
            ImgctlError: the bucket can't be used.
        """
        environment, live = item.destination, endpoint.live
        if live is None:
            raise EndpointNotFound(
                f"{environment} does not say what live means for SPA builds",
                fix=f"set [environments.{environment}.spa.live] mode in the server's settings",
            )
        bucket = self._open(item, endpoint, context)
        mode = self._mode(bucket, endpoint, live, patience)
        caches = None
        if live.distribution:
            caches = Caches(
                lambda: self._clouds.cloudfront(endpoint), live.distribution, environment, patience
            )
        return Switch(bucket, mode, caches, live.invalidate_wait_seconds, self._order, patience)

    def close(self) -> None:
        self._clouds.close()

    def _mode(self, bucket: Bucket, endpoint: SpaEndpoint, live: Live, patience: Patience) -> Mode:
        if live.kvs_arn:
            environment = bucket.place.environment
            store = KeyValueStore(
                lambda: self._clouds.key_values(endpoint),
                live.kvs_arn,
                live.kvs_key,
                environment,
                patience,
            )
            return Pointing(store)
        if live.mode == "pointer":
            return Pointing(ObjectStore(bucket, live.key, patience), [live.key])
        return Root(bucket, live, self._settings, self._order, patience)

    def _open(self, item: PromotionItem, endpoint: SpaEndpoint, context: Context) -> Bucket:
        bucket = bucket_name(item.ref.name, endpoint.suffix)
        prefix = f"{item.ref.version}/" if item.ref.version else ""
        place = Place("source", item.destination, bucket, prefix, endpoint.bucket_owner or "")
        return called(
            context,
            lambda: self._buckets.open(place, endpoint),
            within=_OPEN_WITHIN,
            late=lambda: unreachable(place, f"no answer within {_OPEN_WITHIN:.0f} seconds"),
        )
