"""Copies of the checkout to build in, and the scripts of .ci/ as modules."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _own_environment() -> dict[str, str]:
    """Return our environment without what a make that runs the tests tells its children."""
    make = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "PYTHON", "PYTEST_ARGS"}
    return {name: value for name, value in os.environ.items() if name not in make}


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Return a function that loads a script of .ci/ as a module."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"delivery_{name}", ROOT / ".ci" / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def run() -> Run:
    """Return a function that runs a program, without a terminal and without input."""

    def call(
        *arguments: str | Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(argument) for argument in arguments],
            cwd=cwd,
            env={**_own_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            pytest.fail(f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return call


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """Return what a fresh clone of this checkout would hold, without `.git`."""
    target = tmp_path_factory.mktemp("pristine") / "imgctl"
    if (ROOT / ".git").exists():
        listed = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).stdout
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / name)
    else:
        ignored = shutil.ignore_patterns(".venv*", ".peers", "dist", "__pycache__", "_version.py")
        shutil.copytree(ROOT, target, ignore=ignored)
    return target


@pytest.fixture
def tree(pristine: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkout that a test may change."""
    return Path(shutil.copytree(pristine, tmp_path / "tree"))


@pytest.fixture
def outline(pristine: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkout without code, tests and pages: what make is about."""
    rest = shutil.ignore_patterns("imgctl_*", "tests", "docs")
    return Path(shutil.copytree(pristine, tmp_path / "tree", ignore=rest))


@pytest.fixture(scope="session")
def git(run: Run) -> Callable[..., str]:
    """Return a function that runs git as somebody, in a folder."""

    def call(folder: Path, *arguments: str) -> str:
        someone = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
        return run("git", *someone, *arguments, cwd=folder).stdout.strip()

    return call


@pytest.fixture(scope="session")
def build(run: Run) -> Callable[..., Path]:
    """Return a function that builds wheel and sdist as `make build` does, but offline."""

    def call(folder: Path, *, env: Mapping[str, str] | None = None) -> Path:
        run(sys.executable, "-m", "build", "--no-isolation", cwd=folder, env=env)
        return folder / "dist"

    return call
