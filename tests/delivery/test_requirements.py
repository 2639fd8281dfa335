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


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("Types-Boto3[s3]>=1", []),
        ("types_boto3", []),
        ("boto3", ["boto3"]),
        ("types-boto", ["types-boto"]),
    ],
)
def test_names_that_the_lock_has_not(
    requirements: ModuleType, line: str, missing: list[str]
) -> None:
    project = {
        "project": {"dependencies": [line], "optional-dependencies": {"sandbox": ["moto>=5"]}},
        "dependency-groups": {"dev": ["imgctl[sandbox]"]},
    }
    lock = "moto==5 \\\n    --hash=sha256:00\ntypes-boto3==1 ; python_version > '3'\n# boto3==1\n"
    assert requirements.unlocked(project, lock) == missing


@pytest.mark.parametrize(
    ("version", "why"), [((3, 11), ""), ((3, 13), ""), ((3, 10), "3.10"), ((4, 1), "4.1")]
)
def test_pythons_of_the_lock(
    requirements: ModuleType, project: dict[str, Any], version: tuple[int, int], why: str
) -> None:
    said = requirements.unfit(project, version)
    assert said.endswith(f"this is {why}") if why else said == ""


def test_a_dependency_without_a_floor_is_refused(requirements: ModuleType) -> None:
    project = {"project": {"dependencies": ["click<9"], "optional-dependencies": {}}}
    with pytest.raises(ValueError, match="click<9"):
        requirements.lowest(project)
