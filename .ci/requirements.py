"""Prints requirements out of pyproject.toml, one a line.

    requirements.py extras    what the project itself needs to be developed: its extras
    requirements.py dev       the rest of the dependency group `dev`
    requirements.py tools     what builds, locks and audits
    requirements.py lowest    the lowest version allowed of everything users install
    requirements.py unlocked  what is asked for and is not in .ci/dev.lock, on one line
    requirements.py locked    why that lock is not for this Python; nothing when it is

Old versions of pip and uv don't read dependency groups; every one of them reads this.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / ".ci" / "dev.lock"

_SELF = re.compile(r"imgctl\[([^]]+)\]")
_PYTHON = re.compile(r"Programming Language :: Python :: (3\.\d+)")
_FLOOR = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([0-9][0-9.]*)")


def extras(project: dict[str, Any]) -> list[str]:
    """Return the extras of imgctl itself that the group asks for, as one item."""
    found = [match[1] for line in _dev(project) if (match := _SELF.fullmatch(line))]
    return [",".join(found)]


def others(project: dict[str, Any]) -> list[str]:
    """Return the group without imgctl itself, which is installed from here."""
    return [line for line in _dev(project) if not _SELF.fullmatch(line)]


def tools(project: dict[str, Any]) -> list[str]:
    """Return what the build requires, and the dependency group `tools`."""
    return [*project["build-system"]["requires"], *project["dependency-groups"]["tools"]]


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


def unlocked(project: dict[str, Any], lock: str) -> list[str]:
    """Return the names of what is asked for and has no version in the lock."""
    table = project["project"]
    lines = [*table["dependencies"], *others(project)]
    for extra in extras(project)[0].split(","):
        lines += table["optional-dependencies"][extra]
    there = {_normal(match[1]) for match in re.finditer(r"^([A-Za-z0-9._-]+)==", lock, re.M)}
    return sorted({name for line in lines if (name := _name(line)) not in there})


def unfit(project: dict[str, Any], version: tuple[int, int]) -> str:
    """Return why the lock is not for this version of Python, or an empty text."""
    lines = project["project"]["classifiers"]
    ours = [match[1] for line in lines if (match := _PYTHON.fullmatch(line))]
    mine = ".".join(map(str, version))
    return "" if mine in ours else f"the lock is for Python {', '.join(ours)}, and this is {mine}"


def _name(line: str) -> str:
    return _normal(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _dev(project: dict[str, Any]) -> list[str]:
    lines: list[str] = project["dependency-groups"]["dev"]
    return lines


def main(what: str) -> str:
    """Return what is asked for."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    if what == "unlocked":
        return " ".join(unlocked(project, LOCK.read_text(encoding="utf-8")))
    if what == "locked":
        return unfit(project, sys.version_info[:2])
    lists = {"extras": extras, "dev": others, "tools": tools, "lowest": lowest}
    return "\n".join(lists[what](project))


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1]) + "\n")
