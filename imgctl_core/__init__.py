"""imgctl's framework: what plugin authors and embedders import.

Names are resolved on first use (PEP 562): importing `imgctl_core.client` runs this file,
and must not pay for pydantic or pluggy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgctl_core.activator import Activator
    from imgctl_core.context import CancelToken, Context, ProgressCounter
    from imgctl_core.hookspecs import API_VERSION, hookimpl
    from imgctl_core.models import (
        Action,
        ActivationRequest,
        Actor,
        ArtifactRef,
        ItemResult,
        OnConflict,
        Outcome,
        Plan,
        Promotion,
        PromotionEvent,
        PromotionItem,
        PromotionRequest,
        Step,
    )
    from imgctl_core.notifier import Notifier
    from imgctl_core.promoter import NoSettings, PluginModel, Promoter

__all__ = [
    "API_VERSION",
    "Action",
    "ActivationRequest",
    "Activator",
    "Actor",
    "ArtifactRef",
    "CancelToken",
    "Context",
    "ItemResult",
    "NoSettings",
    "Notifier",
    "OnConflict",
    "Outcome",
    "Plan",
    "PluginModel",
    "ProgressCounter",
    "Promoter",
    "Promotion",
    "PromotionEvent",
    "PromotionItem",
    "PromotionRequest",
    "Step",
    "__version__",
    "hookimpl",
]

_HOME = {
    "API_VERSION": "hookspecs",
    "Action": "models",
    "ActivationRequest": "models",
    "Activator": "activator",
    "Actor": "models",
    "ArtifactRef": "models",
    "CancelToken": "context",
    "Context": "context",
    "ItemResult": "models",
    "NoSettings": "promoter",
    "Notifier": "notifier",
    "OnConflict": "models",
    "Outcome": "models",
    "Plan": "models",
    "PluginModel": "promoter",
    "ProgressCounter": "context",
    "Promoter": "promoter",
    "Promotion": "models",
    "PromotionEvent": "models",
    "PromotionItem": "models",
    "PromotionRequest": "models",
    "Step": "models",
    "__version__": "_version",
    "hookimpl": "hookspecs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
