"""Load plugins one at a time, each in a guard of its own.

pluggy keeps the registrations, but has no isolation: one hook that raises would take all
results with it. So each plugin's hooks are called apart, and a plugin that fails is
quarantined: unregistered, recorded with the phase and the reason, and shown.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import pluggy

from imgctl_core import hookspecs
from imgctl_core.models import PluginInfo, PluginStatus
from imgctl_core.notifier import Notifier
from imgctl_core.plugins.classify import Unfit, check_notifier, check_promoter
from imgctl_core.plugins.finder import FoundPlugin
from imgctl_core.promoter import Promoter
from imgctl_core.text import one_line

_LOG = logging.getLogger("imgctl.plugins")


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin and what it registered; nothing when it is quarantined or disabled."""

    info: PluginInfo
    promoters: tuple[type[Promoter[Any, Any]], ...] = ()
    notifiers: tuple[type[Notifier[Any]], ...] = ()


#: Errors whose words name nothing but modules, hooks and classes.
_OURS = (Unfit, pluggy.PluginValidationError, ModuleNotFoundError)


class _Failed(Exception):
    """Loading stopped in this phase, for this reason."""

    def __init__(self, phase: str, error: BaseException) -> None:
        super().__init__(phase)
        self.phase = phase
        self.text = f"{type(error).__name__}: {error}"
        self.told = _told(error)


def load_plugins(
    found: Iterable[FoundPlugin],
    *,
    allowed: Collection[str] | None = None,
    disabled: Collection[str] = (),
) -> tuple[LoadedPlugin, ...]:
    """Load what may be loaded. Never raises for what a plugin does.

    `allowed` and `disabled` name entry points or distributions; what they keep out is
    not even imported.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    loaded = []
    for plugin in found:
        names = {plugin.name, plugin.distribution}
        if names & set(disabled) or (allowed is not None and not names & set(allowed)):
            loaded.append(LoadedPlugin(_info(plugin, PluginStatus.DISABLED)))
            continue
        try:
            loaded.append(_load(manager, plugin))
        except _Failed as failed:
            _LOG.warning(
                "plugin %s is quarantined: %s failed: %s",
                plugin,
                failed.phase,
                failed.text,
                exc_info=failed.__cause__,
            )
            info = _info(plugin, PluginStatus.QUARANTINED, phase=failed.phase, error=failed.told)
            loaded.append(LoadedPlugin(info))
    return tuple(loaded)


def _told(error: BaseException) -> str:
    """Return what callers may hear: our own words and such as have no content, of others the name.

    A plugin's words may hold what it read, and anybody who may call asks for the list.
    """
    name = type(error).__name__
    if isinstance(error, _OURS):
        return f"{name}: {one_line(str(error), 500)}"
    return f"{name}; the server's log says more"


def _load(manager: pluggy.PluginManager, plugin: FoundPlugin) -> LoadedPlugin:
    key = f"{plugin.distribution}:{plugin.name}"
    phase = "import"
    try:
        module = plugin.entry_point.load()
        phase = "register"
        manager.register(module, name=key)
        # A misspelt hook is this plugin's fault: those before it had none.
        manager.check_pending()
        promoters = _call(manager, "imgctl_promoters", module)
        notifiers = _call(manager, "imgctl_notifiers", module)
        phase = "classify"
        promoter_classes = tuple(check_promoter(cls) for cls in promoters)
        notifier_classes = tuple(check_notifier(cls) for cls in notifiers)
    except (Exception, SystemExit) as error:
        if manager.has_plugin(key):
            manager.unregister(name=key)
        raise _Failed(phase, error) from error
    info = _info(
        plugin,
        PluginStatus.ACTIVE,
        promoters=tuple(cls.kind for cls in promoter_classes),
        notifiers=tuple(cls.kind for cls in notifier_classes),
    )
    _LOG.info("plugin %s is loaded", plugin)
    return LoadedPlugin(info, promoter_classes, notifier_classes)


def _call(manager: pluggy.PluginManager, hook: str, plugin: object) -> list[object]:
    others = [other for other in manager.get_plugins() if other is not plugin]
    results = manager.subset_hook_caller(hook, remove_plugins=others)()
    # A generator fails only when it is read: read it here, inside the guard.
    return [cls for result in results for cls in result]


def _info(plugin: FoundPlugin, status: PluginStatus, **more: Any) -> PluginInfo:
    return PluginInfo(plugin.name, plugin.distribution, plugin.version, status, **more)
