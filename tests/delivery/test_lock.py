"""The locks of development and of its tools: complete, hashed, in date, and of no machine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PIN = re.compile(r"([a-z0-9][a-z0-9.-]*)==(\S+)(?: ; (.+?))? \\")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


@pytest.fixture(scope="module", params=["dev", "tools"])
def lock(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def lines(root: Path, lock: str) -> list[str]:
    first, *rest = (root / f".ci/{lock}.lock").read_text().splitlines()
    assert "make lock" in first
    return rest


@pytest.fixture(scope="module")
def pins(lines: list[str]) -> dict[str, list[Requirement]]:
    """Return what is pinned, by name; some have two versions, for different Pythons."""
    found: dict[str, list[Requirement]] = {}
    for line in lines:
        if not line.startswith(" "):
            pin = Requirement(line.removesuffix("\\"))
            found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def test_every_line_is_a_pin_or_its_hash(lines: list[str]) -> None:
    for before, line in zip([" ", *lines], lines, strict=False):
        if _PIN.fullmatch(line):
            assert not before.endswith("\\"), f"{before} has no hash"
        else:
            assert _HASH.fullmatch(line), line
            assert before.endswith("\\")


def test_it_names_no_place(root: Path, lock: str) -> None:
    """Neither an index nor a folder: it is the same wherever it was made."""
    text = (root / f".ci/{lock}.lock").read_text()
    assert "://" not in text
    assert not re.search(r"--(?!hash=)", text)
    assert " @ " not in text


def test_imgctl_itself_comes_from_here(pins: dict[str, list[Requirement]]) -> None:
    """A public package of that name is somebody else's."""
    assert "imgctl" not in pins


def test_it_has_what_is_asked_for(
    root: Path, lock: str, script: Callable[[str], ModuleType], pins: dict[str, list[Requirement]]
) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    requirements = script("requirements")
    for line in (
        requirements.tools(project) if lock == "tools" else developed(project, requirements)
    ):
        requirement = Requirement(line)
        found = pins[canonicalize_name(requirement.name)]
        for pin in found:
            (pinned,) = pin.specifier
            assert requirement.specifier.contains(pinned.version), f"{line}: run `make lock`"


def developed(project: dict[str, Any], requirements: ModuleType) -> list[str]:
    table = project["project"]
    wanted = [*table["dependencies"], *requirements.others(project)]
    for extra in requirements.extras(project)[0].split(","):
        wanted += table["optional-dependencies"][extra]
    return wanted


def test_the_one_accepted_advisory_has_its_reason(root: Path) -> None:
    makefile = (root / "Makefile").read_text()
    (accepted,) = re.findall(r"^ACCEPTED := (.*)$", makefile, re.MULTILINE)
    assert accepted.split() == ["CVE-2024-23342"]
    reason = makefile.partition("ACCEPTED := ")[0].rpartition("\n\n")[2]
    for name in (*accepted.split(), "ecdsa", "python-jose"):
        assert name in reason
    assert accepted in (root / "docs/explanation/security.md").read_text()
