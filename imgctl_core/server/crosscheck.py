"""Settings that speak of each other: what one names must be there.

A name that is misspelt would else be no error but a rule that holds nowhere, and the
place that it was meant for would stand open.
"""

from __future__ import annotations

from collections.abc import Collection

from imgctl_core.errors import InvalidSetting
from imgctl_core.models import PluginStatus
from imgctl_core.names import canonical_name
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.settings import ServerSettings
from imgctl_core.suggest import nearest


def check_names(
    settings: ServerSettings, registry: PluginRegistry, endpoints: Collection[str]
) -> None:
    """Check that each environment and kind that the settings name is one.

    Args:
        settings: all of them.
        registry: the plugins.
        endpoints: the environments in which some kind has an endpoint.

    Raises:
        InvalidSetting: one is not.
    """
    _check_tables(settings, registry, endpoints)
    _check_references(settings, sorted({*settings.environments, *endpoints}))
    _check_kinds(settings, registry)


def _check_tables(
    settings: ServerSettings, registry: PluginRegistry, endpoints: Collection[str]
) -> None:
    broken = any(info.status is not PluginStatus.ACTIVE for info in registry.infos)
    for name, table in settings.environments.items():
        if name in endpoints or table.endpoints:
            continue
        # A plugin out of use does not say which variables are its endpoints.
        if broken and any(canonical_name(v).endswith(f"-{name}") for v in settings.variables):
            continue
        raise InvalidSetting(
            f"[environments.{name}] in the settings file is about an environment"
            " that has no endpoint",
            fix=nearest(name, endpoints),
        )


def _check_references(settings: ServerSettings, environments: list[str]) -> None:
    named = [("default_source (IMGCTL_DEFAULT_SOURCE)", settings.server.default_source)]
    named += [
        (f"[environments.{name}] promote_from", source)
        for name, table in settings.environments.items()
        for source in table.promote_from or ()
    ]
    named += [
        (f"rule {number}", name)
        for number, rule in enumerate(settings.rules, start=1)
        for name in (*(rule.sources or ()), *(rule.destinations or ()))
    ]
    for where, name in named:
        if name and name not in environments:
            raise InvalidSetting(
                f"{where} names {name!r}, and there is no such environment",
                fix=nearest(name, environments),
            )


def _check_kinds(settings: ServerSettings, registry: PluginRegistry) -> None:
    for number, rule in enumerate(settings.rules, start=1):
        for kind in rule.kinds or ():
            # A rule about a plugin that is out of use is no mistake of the operator's.
            if kind not in registry.promoters and registry.out_of_use(kind) is None:
                raise InvalidSetting(
                    f"rule {number} is for kind {kind!r}, and no promoter of that kind is loaded",
                    fix=nearest(kind, registry.promoters),
                )
