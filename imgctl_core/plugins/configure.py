"""Give plugins their settings and endpoints, validated by their own models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from imgctl_core.errors import InvalidSetting
from imgctl_core.names import canonical_name
from imgctl_core.notifier import Notifier
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.problems import most_telling
from imgctl_core.promoter import Promoter
from imgctl_core.settings import ServerSettings
from imgctl_core.suggest import nearest

_ModelT = TypeVar("_ModelT", bound=BaseModel)


def make_promoters(
    registry: PluginRegistry, settings: ServerSettings
) -> dict[str, Promoter[Any, Any]]:
    """Make every promoter, with its settings and its endpoints by environment.

    Raises:
        InvalidSetting: a table, key or variable of a plugin is wrong.
    """
    _check_kinds(registry, settings)
    return {
        kind: cls(_plugin_settings(cls, settings), _endpoints(cls, settings))
        for kind, cls in registry.promoters.items()
    }


def make_notifiers(registry: PluginRegistry, settings: ServerSettings) -> dict[str, Notifier[Any]]:
    """Make every notifier that a table or a variable asks for, by its name.

    Raises:
        InvalidSetting: a table names no kind that is loaded, or is wrong.
    """
    tables = {name: dict(table) for name, table in settings.notifiers.items()}
    for kind, cls in registry.notifiers.items():
        if _from_variables(cls.variables, cls.Settings, settings.variables):
            tables.setdefault(kind, {})
    made = {}
    for name, table in sorted(tables.items()):
        kind = str(table.pop("kind", name))
        key = f"notifiers.{name}"
        cls_of_kind = registry.notifiers.get(kind)
        if cls_of_kind is None:
            if registry.out_of_use(kind) is not None:
                continue
            raise InvalidSetting(
                f"[{key}] is of kind {kind!r}, and no such notifier is loaded",
                fix=nearest(kind, registry.notifiers),
            )
        # A variable belongs to the notifier that is named after its kind.
        variables = settings.variables if name == kind else {}
        made[name] = cls_of_kind(
            _validate(
                cls_of_kind.Settings,
                {
                    **table,
                    **_from_variables(cls_of_kind.variables, cls_of_kind.Settings, variables),
                },
                f"[{key}]",
            )
        )
    return made


def _plugin_settings(cls: type[Promoter[Any, Any]], settings: ServerSettings) -> BaseModel:
    table = settings.plugins.tables.get(cls.kind, {})
    values = {**table, **_from_variables(cls.variables, cls.Settings, settings.variables)}
    model: type[BaseModel] = cls.Settings
    return _validate(model, values, f"[plugins.{cls.kind}]")


def _endpoints(cls: type[Promoter[Any, Any]], settings: ServerSettings) -> dict[str, BaseModel]:
    raw: dict[str, dict[str, object]] = {
        name: dict(table.endpoints[cls.kind])
        for name, table in settings.environments.items()
        if cls.kind in table.endpoints
    }
    sources = {name: f"[environments.{name}.{cls.kind}]" for name in raw}
    prefix = f"IMGCTL_{cls.family}_"
    if cls.family:
        for variable, value in sorted(settings.variables.items()):
            name = canonical_name(variable.removeprefix(prefix))
            if variable.startswith(prefix) and name:
                raw.setdefault(name, {})[cls.family_field] = value
                sources[name] = variable
    model: type[BaseModel] = cls.Endpoint
    return {name: _validate(model, values, sources[name]) for name, values in sorted(raw.items())}


def _from_variables(
    names: Mapping[str, str], model: type[BaseModel], variables: Mapping[str, str]
) -> dict[str, object]:
    """Read a plugin's variables; one that holds a secret may name a file instead."""
    found: dict[str, object] = {}
    for field, variable in names.items():
        if variable in variables:
            found[field] = variables[variable]
        elif model.model_fields[field].annotation in (SecretStr, SecretStr | None):
            path = variables.get(f"{variable}_FILE")
            if path:
                found[field] = _read_secret(Path(path), f"{variable}_FILE")
    return found


def _read_secret(path: Path, variable: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InvalidSetting(f"{variable} names {path}, which can't be read: {why}") from None


def _validate(model: type[_ModelT], values: Mapping[str, object], where: str) -> _ModelT:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problem = most_telling(error)
        if problem.unknown:
            raise InvalidSetting(
                f"{where} has an unknown key {problem.name!r}",
                fix=nearest(problem.name, model.model_fields),
            ) from None
        if problem.missing:
            raise InvalidSetting(f"{where} needs {problem.name!r}") from None
        name = f"{problem.name}: " if problem.name else ""
        raise InvalidSetting(f"{where}: {name}{problem.message}") from None


def _check_kinds(registry: PluginRegistry, settings: ServerSettings) -> None:
    used = [(f"plugins.{kind}", kind) for kind in settings.plugins.tables]
    used += [
        (f"environments.{name}.{kind}", kind)
        for name, table in settings.environments.items()
        for kind in table.endpoints
    ]
    for key, kind in used:
        # The table of a plugin that is out of use is no mistake of the operator's.
        if kind not in registry.promoters and registry.out_of_use(kind) is None:
            raise InvalidSetting(
                f"[{key}] is for kind {kind!r}, and no promoter of that kind is loaded",
                fix=nearest(kind, registry.promoters),
            )
