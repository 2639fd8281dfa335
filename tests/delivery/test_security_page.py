"""SECURITY.md names tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

_NAMED = re.compile(r"`([a-z0-9_/]+)::([A-Za-z0-9_]+)`")
ATTACKERS = (
    "The network",
    "A stolen token",
    "A malicious registry",
    "A malicious image author",
    "A malicious plugin",
    "The server's disk",
)


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "SECURITY.md").read_text()


@cache
def names_below(folder: Path) -> frozenset[str]:
    """Return the names of the tests, and of the classes that hold some, below a folder."""
    return frozenset(
        node.name
        for file in folder.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if (isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))
        or (isinstance(node, ast.ClassDef) and node.name.startswith("Test"))
    )


def test_every_test_that_it_names_exists(root: Path, page: str) -> None:
    named = _NAMED.findall(page)
    assert len(named) > 50
    missing = [
        f"{folder}::{name}"
        for folder, name in named
        if name not in names_below(root / "tests" / folder)
    ]
    assert missing == []


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_every_attacker_has_a_table_and_every_row_a_test(attacker: str, page: str) -> None:
    section = page.split(f"\n## {attacker}\n")[1].split("\n## ")[0]
    assert "**can**" in section
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert rows[0].startswith("| they can't |")
    assert len(rows) > 5
    for row in rows[1:]:
        assert _NAMED.search(row.rpartition(" | ")[2]), row
