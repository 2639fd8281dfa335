"""Tagging and publishing, against a real remote repository and a stand-in for gh."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Git = Callable[..., str]


@pytest.fixture
def remote(tree: Path, tmp_path: Path, git: Git) -> Path:
    bare = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "one")
    git(tree, "remote", "add", "origin", str(bare))
    git(tree, "push", "-q", "origin", "main")
    return bare


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a stand-in for GitHub's client notes the releases that it made."""
    folder = tmp_path / "bin"
    folder.mkdir()
    made = tmp_path / "made"
    (folder / "gh").write_text(
        '#!/bin/sh\ncase "$2" in\n'
        f'view) grep -q "create $3" "{made}" 2>/dev/null ;;\n'
        f'create) echo "$*" >>"{made}" ;;\nesac\n'
    )
    (folder / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return made


def release(run: Run, tree: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    return run("make", *targets, cwd=tree, check=False)


def test_a_merge_becomes_a_tag_and_a_release(
    tree: Path, remote: Path, gh: Path, git: Git, run: Run, build: Callable[..., Path]
) -> None:
    git(tree, "tag", "v1.4.9")
    git(tree, "commit", "-q", "--allow-empty", "-m", "two")
    assert release(run, tree, "tag").returncode == 0
    build(tree)
    done = release(run, tree, "tag", "release")
    assert done.returncode == 0, done.stderr
    assert git(remote, "tag", "--list") == "v1.4.10"
    assert git(remote, "rev-parse", "v1.4.10") == git(tree, "rev-parse", "HEAD")
    (line,) = gh.read_text().splitlines()
    assert line.split()[:3] == ["release", "create", "v1.4.10"]
    assert "dist/imgctl-1.4.10-py3-none-any.whl" in line
    assert "dist/imgctl-1.4.10.tar.gz" in line


def test_publishing_twice_makes_one_release(
    tree: Path, remote: Path, gh: Path, git: Git, run: Run, build: Callable[..., Path]
) -> None:
    release(run, tree, "tag")
    build(tree)
    for _ in range(2):
        assert release(run, tree, "tag", "release").returncode == 0
    assert len(gh.read_text().splitlines()) == 1
    assert git(remote, "tag", "--list") == "v0.1.0"


def test_artifacts_of_another_version_are_not_published(
    tree: Path, remote: Path, gh: Path, git: Git, run: Run, build: Callable[..., Path]
) -> None:
    build(tree)  # before the tag: 0.0.0.dev0
    done = release(run, tree, "tag", "release")
    assert done.returncode != 0
    assert "imgctl-0.1.0-py3-none-any.whl is not there" in done.stderr
    assert git(remote, "tag", "--list") == ""
    assert not gh.exists()


def test_without_a_tag_nothing_is_published(tree: Path, remote: Path, gh: Path, run: Run) -> None:
    done = release(run, tree, "release")
    assert done.returncode != 0
    assert "no release's tag" in done.stderr
    assert not gh.exists()
