"""The two hooks of the plugin interface, and the markers to implement them with.

A plugin is a module, named in the entry-point group `imgctl.plugins`, with either or both:

    from imgctl_core import hookimpl

    @hookimpl
    def imgctl_promoters():
        return [FolderPromoter]

Hooks only register classes. Nothing else is ever called through pluggy: the engine calls
the classes, one at a time, each in a guard of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from imgctl_core.notifier import Notifier
    from imgctl_core.promoter import Promoter

#: Both are permanent: every plugin in the world carries them.
PROJECT_NAME: Final = "imgctl"
ENTRY_POINT_GROUP: Final = "imgctl.plugins"

#: The interface this version of imgctl offers. A plugin fits when its major number is
#: the same and its minor number is not higher.
API_VERSION: Final = (1, 0)

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def imgctl_promoters() -> Iterable[type[Promoter[Any, Any]]]:
    """Return the promoter classes of this plugin."""
    return ()


@hookspec
def imgctl_notifiers() -> Iterable[type[Notifier[Any]]]:
    """Return the notifier classes of this plugin."""
    return ()
