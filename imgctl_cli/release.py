"""Release files: what belongs together, promoted together.

source: int            # optional; a flag wins
destination: prod      # optional; a flag wins
items:
- ref: myapp:v1.4.0
- ref: spa:shop:1.4.2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imgctl_core.errors import InvalidSetting
from imgctl_core.suggest import nearest

_KEYS = ("source", "destination", "items")
_ITEM_KEYS = ("ref",)

#: Release files are written by hand. What is larger is some other file.
_LARGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Release:
    """What a release file says; an end that it does not name is empty."""

    refs: tuple[str, ...]
    source: str = ""
    destination: str = ""


def read_release(path: Path) -> Release:
    """Read a release file.

    Raises:
        InvalidSetting: it can't be read, is no YAML, or says what no release file says.
    """
    import yaml

    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise InvalidSetting(f"the release file {path} can't be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise InvalidSetting(f"the release file {path} is larger than {_LARGEST} bytes")
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSetting(f"the release file {path} is no YAML: {_first_line(error)}") from None
    table = _table(path, "it", document, _KEYS)
    items = table.get("items")
    if not isinstance(items, list) or not items:
        raise InvalidSetting(
            f"the release file {path} names no items", fix="write items:, and - ref: … below it"
        )
    refs = [
        _text(path, f"item {number}: ref", _table(path, f"item {number}", item, _ITEM_KEYS), "ref")
        for number, item in enumerate(items, start=1)
    ]
    return Release(
        tuple(refs),
        _text(path, "source", table, "source"),
        _text(path, "destination", table, "destination"),
    )


def _table(path: Path, where: str, value: object, keys: tuple[str, ...]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidSetting(f"the release file {path} is wrong: {where} is no mapping")
    for key in value:
        if key not in keys:
            raise InvalidSetting(
                f"the release file {path} is wrong: {where} has an unknown key {str(key)!r}",
                fix=nearest(str(key), keys),
            )
    return value


def _text(path: Path, where: str, table: Mapping[str, object], key: str) -> str:
    value = table.get(key, "")
    # YAML reads an unquoted 1.10 as a number, and would promote 1.1.
    if not isinstance(value, str) or (key == "ref" and not value):
        raise InvalidSetting(
            f"the release file {path} is wrong: {where} is no text", fix='put it in quotes: "…"'
        )
    return value


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
