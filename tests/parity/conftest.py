"""The command line in this process, as a person runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from imgctl_cli.main import main


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def imgctl(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Return a function that runs one command."""

    def run(*arguments: str) -> Ran:
        code = main(arguments)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def settings(imgctl: Callable[..., Ran]) -> Callable[..., dict[str, Any]]:
    """Return a function that asks `config show`: value and origin of each setting."""

    def show(*flags: str) -> dict[str, Any]:
        ran = imgctl("config", "show", "-o", "json", *flags)
        assert ran.code == 0, ran.err
        return {entry["name"]: entry for entry in json.loads(ran.out)["settings"]}

    return show


@pytest.fixture
def baked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Return a function that makes this imgctl one that was built with defaults."""

    def bake(defaults: Mapping[str, str]) -> None:
        module = ModuleType("imgctl_cli._baked")
        vars(module)["DEFAULTS"] = dict(defaults)
        monkeypatch.setitem(sys.modules, "imgctl_cli._baked", module)

    return bake


@pytest.fixture
def client_file(home: Path) -> Callable[[str], None]:
    """Return a function that writes the client's settings file."""

    def write(text: str) -> None:
        path = home / ".config" / "imgctl" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text)

    return write
