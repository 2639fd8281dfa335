"""A table of settings, and the layers that its values come from: flag, variable, file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (raw.strip() for raw in value.split(",")) if part)
    return value


#: A tuple of words: a list in the file, comma-separated in a variable.
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


@dataclass(frozen=True)
class Layers:
    """Where the values of one table may come from."""

    flags: Mapping[str, object]
    variables: Mapping[str, str]
    file: Mapping[str, object]


class VariableSource(PydanticBaseSettingsSource):
    """Reads a table's environment variables; an empty one is an unset one."""

    def __init__(self, settings_cls: type[Table], variables: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._table = settings_cls
        self._variables = variables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value = self._variables.get(self._table.variable(field_name))
        keep_empty = field_name in self._table.empty_counts
        return (value if value or keep_empty else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {
            name: self.get_field_value(info, name)[0]
            for name, info in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


class Table(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    prefix: ClassVar[str]
    #: Fields whose variable, set but empty, is not the same as unset.
    empty_counts: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def variable(cls, name: str) -> str:
        return cls.prefix + name.upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(init_settings, InitSettingsSource)  # noqa: S101 - pydantic-settings' own
        layers: Layers = init_settings.init_kwargs["layers"]
        return (
            InitSettingsSource(settings_cls, dict(layers.flags)),
            VariableSource(cls, layers.variables),
            InitSettingsSource(settings_cls, dict(layers.file)),
        )

    @classmethod
    def from_layers(cls, layers: Layers) -> Self:
        values: dict[str, Any] = {"layers": layers}
        return cls(**values)
