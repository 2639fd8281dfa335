"""Check what a plugin registered, before anything of it is used."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from imgctl_core.hookspecs import API_VERSION
from imgctl_core.notifier import Notifier
from imgctl_core.promoter import Promoter

#: Families that would shadow variables of our own (`IMGCTL_DEFAULT_SOURCE` is no
#: endpoint of an environment named `source`).
RESERVED_FAMILIES = frozenset(
    {
        "DEFAULT",
        "CLIENT",
        "SERVER",
        "AUDIT",
        "IMAGE",
        "ECR",
        "SLACK",
        "BAKE",
        "CONFIG",
        "TLS",
        "AUDIENCE",
        "LIMITS",
    }
)

#: Keys of `[environments.<name>]` that can't be kinds.
RESERVED_KINDS = frozenset({"allowed_groups", "promote_from", "allow_replace"})

_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_FAMILY = re.compile(r"[A-Z][A-Z0-9]{0,31}", re.ASCII)


class Unfit(Exception):
    """What was registered is no plugin of ours. The text says why."""


def check_promoter(candidate: object) -> type[Promoter[Any, Any]]:
    """Return the class if it is a complete promoter.

    Raises:
        Unfit: it is not, or was written for another version of the interface.
    """
    if not isinstance(candidate, type) or not issubclass(candidate, Promoter):
        raise Unfit(f"{candidate!r} is no subclass of imgctl_core.Promoter")
    cls: type[Promoter[Any, Any]] = candidate
    _check_common(cls)
    _check_model(cls, "Endpoint")
    if cls.family:
        if not _FAMILY.fullmatch(cls.family):
            raise Unfit(f"{cls.__name__}.family {cls.family!r} is not [A-Z][A-Z0-9]*")
        if cls.family in RESERVED_FAMILIES:
            raise Unfit(f"{cls.__name__}.family {cls.family} is reserved by imgctl")
        if cls.family_field not in cls.Endpoint.model_fields:
            raise Unfit(f"{cls.__name__}.family_field {cls.family_field!r} is no field of Endpoint")
    return cls


def check_notifier(candidate: object) -> type[Notifier[Any]]:
    """Return the class if it is a complete notifier.

    Raises:
        Unfit: it is not, or was written for another version of the interface.
    """
    if not isinstance(candidate, type) or not issubclass(candidate, Notifier):
        raise Unfit(f"{candidate!r} is no subclass of imgctl_core.Notifier")
    _check_common(candidate)
    return candidate


def _check_common(cls: type[Promoter[Any, Any] | Notifier[Any]]) -> None:
    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    if missing:
        raise Unfit(f"{cls.__name__} does not define {missing}")
    kind = getattr(cls, "kind", None)
    if type(kind) is not str or not _KIND.fullmatch(kind) or kind in RESERVED_KINDS:
        raise Unfit(f"{cls.__name__}.kind {kind!r} is not [a-z][a-z0-9-]*")
    _check_version(cls)
    _check_model(cls, "Settings")
    for name in cls.variables:
        if name not in cls.Settings.model_fields:
            raise Unfit(f"{cls.__name__}.variables names no field of Settings: {name!r}")


def _check_version(cls: Any) -> None:
    version = cls.api_version
    fits = (
        isinstance(version, tuple)
        and len(version) == 2
        and all(type(part) is int for part in version)
        and version[0] == API_VERSION[0]
        and version[1] <= API_VERSION[1]
    )
    if not fits:
        ours = ".".join(map(str, API_VERSION))
        raise Unfit(
            f"{cls.__name__} was written for plugin interface {version!r}; this imgctl has {ours}"
        )


def _check_model(cls: Any, name: str) -> None:
    model = getattr(cls, name, None)
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        raise Unfit(f"{cls.__name__}.{name} is no pydantic model")
