"""What .ci/requirements.py reads out of pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def requirements(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("requirements")


@pytest.fixture
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_extras_are_those_of_the_group(requirements: ModuleType, project: dict[str, Any]) -> None:
    assert requirements.extras(project) == ["sandbox,testing"]
    extras = set(project["project"]["optional-dependencies"])
    assert {"sandbox", "testing"} <= extras


def test_every_dependency_has_a_floor(requirements: ModuleType, project: dict[str, Any]) -> None:
    pins = requirements.lowest(project)
    assert "grpcio==1.74" in pins
    assert "python-jose==3.5" in pins  # its extra and its ceiling left out
    assert len(pins) == len(project["project"]["dependencies"]) + 2


def test_a_dependency_without_a_floor_is_refused(requirements: ModuleType) -> None:
    project = {"project": {"dependencies": ["click<9"], "optional-dependencies": {}}}
    with pytest.raises(ValueError, match="click<9"):
        requirements.lowest(project)
