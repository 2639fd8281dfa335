"""What is loaded: at most one plugin a kind, and a record of all the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from imgctl_core.errors import InvalidSetting
from imgctl_core.models import PluginInfo, PluginStatus
from imgctl_core.notifier import Notifier
from imgctl_core.plugins.finder import find_plugins
from imgctl_core.plugins.loader import LoadedPlugin, load_plugins
from imgctl_core.promoter import Promoter
from imgctl_core.settings import PluginsTable

_ClassT = TypeVar("_ClassT", bound=type[Any])


@dataclass(frozen=True)
class PluginRegistry:
    """The plugin classes by kind, and every installed plugin's record."""

    promoters: Mapping[str, type[Promoter[Any, Any]]]
    notifiers: Mapping[str, type[Notifier[Any]]]
    infos: tuple[PluginInfo, ...]

    def out_of_use(self, name: str) -> PluginInfo | None:
        """Return the quarantined or disabled plugin of this entry-point name, if any."""
        return next(
            (i for i in self.infos if i.name == name and i.status is not PluginStatus.ACTIVE),
            None,
        )


def load_registry(table: PluginsTable) -> PluginRegistry:
    """Find and load the installed plugins as `[plugins]` says.

    Raises:
        InvalidSetting: two plugins have one kind, or a required plugin is not there.
    """
    loaded = load_plugins(find_plugins(), allowed=table.allowed, disabled=table.disabled)
    return build_registry(loaded, required=table.required)


def build_registry(
    loaded: Iterable[LoadedPlugin], *, required: Collection[str] = ()
) -> PluginRegistry:
    """Order loaded plugins by kind.

    Raises:
        InvalidSetting: two plugins have one kind, or a required plugin is not there.
    """
    plugins = tuple(loaded)
    infos = tuple(plugin.info for plugin in plugins)
    _check_required(infos, required)
    return PluginRegistry(
        _by_kind("promoters", ((p.info, cls) for p in plugins for cls in p.promoters)),
        _by_kind("notifiers", ((p.info, cls) for p in plugins for cls in p.notifiers)),
        infos,
    )


def _by_kind(what: str, classes: Iterable[tuple[PluginInfo, _ClassT]]) -> dict[str, _ClassT]:
    found: dict[str, tuple[PluginInfo, _ClassT]] = {}
    for info, cls in classes:
        if cls.kind in found:
            first = found[cls.kind][0]
            raise InvalidSetting(
                f"two plugins bring {what} of kind {cls.kind!r}: "
                f"{first.distribution} {first.version} and {info.distribution} {info.version}",
                fix="uninstall one of them, or name it in IMGCTL_PLUGINS_DISABLED",
            )
        found[cls.kind] = (info, cls)
    return {kind: cls for kind, (_, cls) in sorted(found.items())}


def _check_required(infos: Iterable[PluginInfo], required: Collection[str]) -> None:
    by_name: dict[str, PluginInfo] = {}
    for info in infos:
        by_name.setdefault(info.distribution, info)
        by_name[info.name] = info
    for name in required:
        if name not in by_name:
            raise InvalidSetting(
                f"the required plugin {name!r} is not installed",
                fix="install it beside imgctl, or take it out of IMGCTL_PLUGINS_REQUIRED",
            )
        info = by_name[name]
        if info.status is not PluginStatus.ACTIVE:
            why = f": {info.phase} failed: {info.error}" if info.error else ""
            raise InvalidSetting(f"the required plugin {name!r} is {info.status.value}{why}")
