"""What version a build has: .ci/version.py on real repositories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Git = Callable[..., str]


@pytest.fixture
def version(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("version")


@pytest.fixture
def repository(tmp_path: Path, git: Git) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, git)
    return folder


def commit(folder: Path, git: Git) -> None:
    file = folder / "file"
    file.write_text(file.read_text() + "x" if file.exists() else "x")
    git(folder, "add", "file")
    git(folder, "commit", "-q", "-m", "one")


def test_without_git(version: ModuleType, tmp_path: Path) -> None:
    assert version.version(tmp_path) == "0.0.0.dev0"
    assert version.next_tag(tmp_path) == "v0.1.0"


def test_without_a_git_program(
    version: ModuleType, repository: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "tag", "v1.2.3")
    monkeypatch.setenv("PATH", "/nowhere")
    assert version.version(repository) == "0.0.0.dev0"


def test_without_a_tag(version: ModuleType, repository: Path) -> None:
    assert version.version(repository) == "0.0.0.dev0"


def test_shallow_clone(version: ModuleType, repository: Path, git: Git) -> None:
    git(repository, "tag", "v1.2.3")
    commit(repository, git)
    commit(repository, git)
    clone = repository.parent / "clone"
    git(repository.parent, "clone", "-q", "--depth=1", repository.as_uri(), str(clone))
    assert version.version(clone) == "0.0.0.dev0"


def test_on_a_tag(version: ModuleType, repository: Path, git: Git) -> None:
    git(repository, "tag", "v1.2.3")
    assert version.version(repository) == "1.2.3"
    assert version.next_tag(repository) == "v1.2.3"


def test_after_a_tag(version: ModuleType, repository: Path, git: Git) -> None:
    git(repository, "tag", "v1.2.9")
    commit(repository, git)
    commit(repository, git)
    assert version.version(repository) == "1.2.10.dev2"
    assert version.next_tag(repository) == "v1.2.10"


def test_changed_tree_is_not_the_release(version: ModuleType, repository: Path, git: Git) -> None:
    git(repository, "tag", "v1.2.3")
    (repository / "file").write_text("changed")
    assert version.version(repository) == "1.2.4.dev0"


def test_untracked_files_change_nothing(version: ModuleType, repository: Path, git: Git) -> None:
    git(repository, "tag", "v1.2.3")
    (repository / "other").write_text("built")
    assert version.version(repository) == "1.2.3"


def test_highest_release_counts(version: ModuleType, repository: Path, git: Git) -> None:
    for tag in ("v1.10.0", "v1.9.9", "v2.0.0-rc1", "v9", "nightly"):
        git(repository, "tag", tag)
    assert version.version(repository) == "1.10.0"


def test_tags_elsewhere_do_not_count(version: ModuleType, repository: Path, git: Git) -> None:
    git(repository, "tag", "v1.0.0")
    git(repository, "checkout", "-q", "-b", "other")
    commit(repository, git)
    git(repository, "tag", "v2.0.0")
    git(repository, "checkout", "-q", "main")
    assert version.version(repository) == "1.0.0"


def test_repository_around_an_unpacked_source(
    version: ModuleType, repository: Path, git: Git
) -> None:
    git(repository, "tag", "v7.0.0")
    inner = repository / "vendor"
    inner.mkdir()
    assert version.version(inner) == "0.0.0.dev0"


def test_inside_a_git_hook(
    version: ModuleType, repository: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "tag", "v1.2.3")
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    assert version.version(repository) == "1.2.3"
