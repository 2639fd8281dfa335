"""Wheels and source distributions, really built: what is in them, and what is baked in."""

from __future__ import annotations

import ast
import email
import email.message
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Build = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Git = Callable[..., str]

NASTY = """it's "quoted" \\ $HOME ${x} `id` {braces} \n # ü"""


@pytest.fixture(scope="module")
def plain(pristine: Path, build: Build, tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "tree"
    run("cp", "-R", pristine, folder, cwd=folder.parent)
    return build(folder)


def wheel_of(dist: Path) -> zipfile.ZipFile:
    (wheel,) = dist.glob("*.whl")
    return zipfile.ZipFile(wheel)


def sdist_names(dist: Path) -> list[str]:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def literal(wheel: zipfile.ZipFile, module: str, name: str) -> object:
    """Return a constant of a module without running it."""
    for node in ast.parse(wheel.read(module)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and node.value:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} has no literal {name}")


def test_wheel_holds_the_packages_and_nothing_else(plain: Path) -> None:
    with wheel_of(plain) as wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
        assert {"imgctl_core/py.typed", "imgctl_core/_proto/imgctl_pb2.pyi"} <= set(
            wheel.namelist()
        )
    assert tops == {
        "imgctl_core",
        "imgctl_backends",
        "imgctl_cli",
        "imgctl-0.0.0.dev0.dist-info",
    }


def test_wheel_declares_command_and_plugins(plain: Path) -> None:
    with wheel_of(plain) as wheel:
        entry_points = wheel.read("imgctl-0.0.0.dev0.dist-info/entry_points.txt").decode()
        described = metadata(wheel)
    assert "imgctl = imgctl_cli.main:main" in entry_points
    for plugin in ("image", "spa", "slack"):
        assert f"{plugin} = imgctl_backends.{plugin}" in entry_points
    assert described["Requires-Python"] == ">=3.11"
    assert described["License-Expression"] == "Apache-2.0"
    assert described.get_all("Provides-Extra") == ["sandbox", "testing"]


def test_version_without_git_is_exact_and_literal(plain: Path) -> None:
    with wheel_of(plain) as wheel:
        assert metadata(wheel)["Version"] == "0.0.0.dev0"
        assert literal(wheel, "imgctl_core/_version.py", "__version__") == "0.0.0.dev0"


def test_sdist_holds_what_a_build_and_its_tests_need(plain: Path) -> None:
    names = sdist_names(plain)
    for needed in (
        "Makefile",
        "PKG-INFO",
        ".ci/build_hook.py",
        "proto/imgctl/v1/imgctl.proto",
        "tests/delivery/test_build.py",
        ".github/workflows/ci.yml",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith((".venv", ".peers", "dist/"))]


def test_version_after_a_tag_reaches_wheel_and_sdist(tree: Path, build: Build, git: Git) -> None:
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "one")
    git(tree, "tag", "v3.4.5")
    git(tree, "commit", "-q", "--allow-empty", "-m", "two")
    dist = build(tree)
    assert [path.name for path in dist.glob("*.tar.gz")] == ["imgctl-3.4.6.dev1.tar.gz"]
    with wheel_of(dist) as wheel:
        assert metadata(wheel)["Version"] == "3.4.6.dev1"
        assert literal(wheel, "imgctl_core/_version.py", "__version__") == "3.4.6.dev1"
    assert git(tree, "status", "--porcelain") == ""


def test_nothing_is_baked_unless_asked(plain: Path) -> None:
    with wheel_of(plain) as wheel:
        assert "imgctl_cli/_baked.py" not in wheel.namelist()


def test_what_is_baked_is_in_the_wheel_and_nowhere_else(tree: Path, build: Build) -> None:
    dist = build(
        tree,
        env={
            "IMGCTL_BAKE_SOURCE": "dev",
            "IMGCTL_BAKE_DESTINATION": "",
            "IMGCTL_BAKE_CLIENT_SECRET": NASTY,
            "TMPDIR": str(tree.parent),
        },
    )
    with wheel_of(dist) as wheel:
        assert literal(wheel, "imgctl_cli/_baked.py", "DEFAULTS") == {
            "source": "dev",
            "client_secret": NASTY,
        }
    assert "imgctl_cli/_baked.py" not in sdist_names(dist)
    assert not list(tree.rglob("_baked.py"))
    assert not list(tree.parent.glob("imgctl-baked-*"))


def test_a_stray_file_reaches_neither_wheel_nor_sdist(tree: Path, build: Build) -> None:
    (tree / "imgctl_cli" / "_baked.py").write_text("DEFAULTS = {'client_secret': 'x'}\n")
    dist = build(tree)
    with wheel_of(dist) as wheel:
        assert "imgctl_cli/_baked.py" not in wheel.namelist()
    assert "imgctl_cli/_baked.py" not in sdist_names(dist)


def test_misspelt_bake_variable_stops_the_build(tree: Path, run: Run) -> None:
    done = run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        cwd=tree,
        env={"IMGCTL_BAKE_CLIENTID": "x"},
        check=False,
    )
    assert done.returncode != 0
    assert "IMGCTL_BAKE_CLIENTID" in done.stdout + done.stderr


def test_editable_install_is_never_baked(tree: Path, run: Run) -> None:
    code = "import hatchling.build; print(hatchling.build.build_editable('.'))"
    run(sys.executable, "-c", code, cwd=tree, env={"IMGCTL_BAKE_SOURCE": "dev"})
    (wheel,) = tree.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "_baked" in name]
    assert (tree / "imgctl_core" / "_version.py").is_file()
    assert not list(tree.rglob("_baked.py"))


def test_make_build_passes_values_through_unharmed(
    tree: Path, run: Run, root: Path, tmp_path: Path
) -> None:
    # A stand-in for .venv's Python that notes its environment instead of building.
    (tree / ".venv/bin").mkdir(parents=True)
    note = tmp_path / "note"
    python = tree / ".venv/bin/python"
    python.write_text(f"#!/bin/sh\nenv -0 >'{note}'\n")
    python.chmod(0o755)
    (tree / ".venv/.installed-build").touch()
    secret = "a$b$(c) 'd' \"e\" #f %g"
    done = run("make", "build", f"BAKE_CLIENT_SECRET={secret}", "BAKE_SOURCE=dev", cwd=tree)
    environ = dict(item.split("=", 1) for item in note.read_text().split("\0") if "=" in item)
    assert environ["IMGCTL_BAKE_CLIENT_SECRET"] == secret
    assert environ["IMGCTL_BAKE_SOURCE"] == "dev"
    assert not environ["IMGCTL_BAKE_DESTINATION"]
    assert secret not in done.stdout + done.stderr


def test_hook_removes_its_file_when_the_build_fails(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("IMGCTL_BAKE_SOURCE", "dev")
    program = (
        "import os, sys; sys.path.insert(0, '.ci'); import build_hook\n"
        "from hatchling.bridge.app import Application\n"
        "hook = build_hook.BakeHook('.', {}, None, None, '.', 'wheel', Application())\n"
        "hook.initialize('standard', {'force_include': {}})\n"
        "assert os.listdir(os.environ['TMPDIR'])\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=Path(__file__).parents[2],
        env={**dict(__import__("os").environ), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert not list(tmp_path.iterdir())
