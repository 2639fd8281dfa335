"""What there is to promote between, by which plugins, and whether one actor may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from imgctl_core.access import Decision, Explanation
from imgctl_core.models import Actor, EndpointInfo, EnvironmentInfo, PluginInfo, PromotionRequest
from imgctl_core.promoter import Promoter
from imgctl_core.resolve import Resolver


class Rules(Protocol):
    """What the catalogue asks of the policy."""

    def may_promote(self, actor: Actor, destination: str) -> bool: ...

    def allows_replace(self, destination: str) -> bool: ...

    def decide(
        self, actor: Actor, *, kind: str, name: str, source: str, destination: str
    ) -> tuple[Decision, ...]: ...


class Catalogue:
    """Lists environments and plugins. Pure: nothing of the network is asked."""

    def __init__(
        self,
        promoters: Mapping[str, Promoter[Any, Any]],
        plugins: tuple[PluginInfo, ...],
        rules: Rules,
        resolver: Resolver,
        *,
        environments: tuple[str, ...],
        default_source: str,
    ) -> None:
        self._promoters = promoters
        self._plugins = plugins
        self._rules = rules
        self._resolver = resolver
        self._environments = environments
        self._default_source = default_source

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return every installed plugin and what became of it."""
        return self._plugins

    def environments(self, actor: Actor) -> tuple[EnvironmentInfo, ...]:
        """Return every environment, with what the actor may do there."""
        return tuple(
            EnvironmentInfo(
                name,
                tuple(
                    EndpointInfo(kind, promoter.describe(promoter.endpoints[name]))
                    for kind, promoter in self._promoters.items()
                    if name in promoter.endpoints
                ),
                default_source=name == self._default_source,
                may_promote=self._rules.may_promote(actor, name),
                allow_replace=self._rules.allows_replace(name),
            )
            for name in self._environments
        )

    def destinations(self, actor: Actor) -> tuple[str, ...]:
        """Return the environments to which the actor may promote."""
        return tuple(name for name in self._environments if self._rules.may_promote(actor, name))

    def explain(self, request: PromotionRequest, actor: Actor) -> Explanation:
        """Return what every check says of promoting the request's first reference.

        Raises:
            RequestError, NotFound, PluginUnavailable: the request can't be understood.
        """
        resolved = self._resolver.resolve(request)
        _, item = resolved.items[0]
        found = self._rules.decide(
            actor,
            kind=item.ref.kind,
            name=item.ref.name,
            source=resolved.source,
            destination=resolved.destination,
        )
        return Explanation(item.text, resolved.source, resolved.destination, found)
