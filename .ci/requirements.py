"""Prints requirements out of pyproject.toml, one a line.

    requirements.py extras    what the project itself needs to be developed: its extras
    requirements.py dev       the rest of the dependency group `dev`
    requirements.py lowest    the lowest version allowed of everything users install

Old versions of pip and uv don't read dependency groups; every one of them reads this.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

_SELF = re.compile(r"imgctl\[([^]]+)\]")
_FLOOR = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([0-9][0-9.]*)")


def extras(project: dict[str, Any]) -> list[str]:
    """Return the extras of imgctl itself that the group asks for, as one item."""
    found = [match[1] for line in _dev(project) if (match := _SELF.fullmatch(line))]
    return [",".join(found)]


def others(project: dict[str, Any]) -> list[str]:
    """Return the group without imgctl itself, which is installed from here."""
    return [line for line in _dev(project) if not _SELF.fullmatch(line)]


def lowest(project: dict[str, Any]) -> list[str]:
    """Return `name==floor` for every dependency and extra.

    Raises:
        ValueError: a dependency has no floor.
    """
    table = project["project"]
    lines = list(table["dependencies"])
    for extra in table["optional-dependencies"].values():
        lines += extra
    pins = []
    for line in lines:
        match = _FLOOR.match(line)
        if match is None:
            raise ValueError(f"{line!r} in pyproject.toml has no lowest version")
        pins.append(f"{match[1]}=={match[2]}")
    return pins


def _dev(project: dict[str, Any]) -> list[str]:
    lines: list[str] = project["dependency-groups"]["dev"]
    return lines


if __name__ == "__main__":
    with (ROOT / "pyproject.toml").open("rb") as file:
        document = tomllib.load(file)
    answer = {"extras": extras, "dev": others, "lowest": lowest}[sys.argv[1]](document)
    sys.stdout.write("\n".join(answer) + "\n")
