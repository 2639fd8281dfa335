"""The example of the documentation: built, installed beside imgctl, promoted with, removed."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgctl_core.errors import InvalidReference, UnknownKind
from imgctl_core.models import Actor, OnConflict, Outcome, Promotion, PromotionRequest
from imgctl_core.server.assemble import Assembly, assemble, configure_plugins
from imgctl_core.settings import load_settings

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ALICE = Actor("https://dex.example", "alice", groups=("engineering",), matched_group="engineering")


@pytest.fixture(scope="module")
def wheel(root: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "imgctl-folder"
    shutil.copytree(root / "docs/examples/imgctl-folder", folder)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture
def installed(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder into which the plugin was installed; it is on Python's path."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    # Takes back what the test is about to import.
    monkeypatch.setitem(sys.modules, "imgctl_folder", sys)
    monkeypatch.delitem(sys.modules, "imgctl_folder")
    return site


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("dev", "prod")}
    for folder in found.values():
        folder.mkdir()
    (found["dev"] / "report-1.4").write_bytes(b"the report")
    return found


@contextmanager
def server(places: dict[str, Path], tmp_path: Path, **more: str) -> Iterator[Assembly]:
    """Give a server's parts, wired as `imgctl server` wires them."""
    settings = load_settings(
        environ={
            "OIDC_ISSUER_URL": "https://dex.example",
            "OIDC_AUDIENCE": "https://imgctl.example",
            "OIDC_ALLOWED_GROUPS": "engineering",
            "IMGCTL_AUDIT_LOG": str(tmp_path / "audit.jsonl"),
            "IMGCTL_FOLDER_DEV": str(places["dev"]),
            "IMGCTL_FOLDER_PROD": str(places["prod"]),
            "IMGCTL_SPA_DEV": "dev",
            **more,
        }
    )
    parts = assemble(settings, configure_plugins(settings))
    try:
        yield parts
    finally:
        parts.engine.drain(5)
        parts.close()


def promote(parts: Assembly, ref: str, on_conflict: OnConflict = OnConflict.FAIL) -> Promotion:
    request = PromotionRequest((ref,), "prod", "dev", on_conflict)
    started = parts.engine.start(request, ALICE)
    *_, ended = parts.engine.watch(started.id, ALICE, threading.Event())
    assert isinstance(ended, Promotion)
    return ended


def test_discovered_listed_promoted_with_and_gone(
    installed: Path, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(places, tmp_path) as parts:
        (info,) = [info for info in parts.catalogue.plugins() if info.name == "folder"]
        assert (info.distribution, info.version) == ("imgctl-folder", "1.0.0")
        assert info.promoters == ("folder",)
        assert promote(parts, "folder:report:1.4").outcome is Outcome.PROMOTED
        assert (places["prod"] / "report-1.4").read_bytes() == b"the report"
        assert promote(parts, "folder:report:1.4").outcome is Outcome.UNCHANGED

    shutil.rmtree(installed)
    importlib.invalidate_caches()
    with server(places, tmp_path) as parts:
        assert "folder" not in [info.name for info in parts.catalogue.plugins()]
        with pytest.raises(UnknownKind):
            promote(parts, "folder:report:1.4")


def test_conflict_writes_nothing(installed: Path, places: dict[str, Path], tmp_path: Path) -> None:
    (places["prod"] / "report-1.4").write_bytes(b"another")
    with server(places, tmp_path) as parts:
        assert promote(parts, "folder:report:1.4").outcome is Outcome.CONFLICT
        refused = promote(parts, "folder:report:1.4", OnConflict.REPLACE)
        assert refused.outcome is not Outcome.PROMOTED
    assert (places["prod"] / "report-1.4").read_bytes() == b"another"
    assert [path.name for path in places["prod"].iterdir()] == ["report-1.4"]


def test_absent_artifact_fails(installed: Path, places: dict[str, Path], tmp_path: Path) -> None:
    with server(places, tmp_path) as parts:
        ended = promote(parts, "folder:other:1")
    assert ended.outcome is Outcome.FAILED
    assert ended.items[0].error is not None
    assert ended.items[0].error.reason == "ARTIFACT_NOT_FOUND"


@pytest.mark.parametrize("rest", ["../report:1", ".hidden:1", "a/b:1", "a:/b:1"])
def test_a_name_that_leads_elsewhere_is_refused(
    installed: Path, places: dict[str, Path], tmp_path: Path, rest: str
) -> None:
    with server(places, tmp_path) as parts, pytest.raises(InvalidReference):
        promote(parts, f"folder:{rest}")


def test_the_example_passes_the_contract_by_its_own_tests(
    root: Path, installed: Path, run: Run, tmp_path: Path
) -> None:
    shutil.copy(root / "docs/examples/imgctl-folder/test_imgctl_folder.py", tmp_path)
    plain = ("-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error", "-rs", "-q")
    environ = {"PYTHONPATH": str(installed)}
    done = run(sys.executable, "-m", "pytest", *plain, tmp_path, cwd=tmp_path, env=environ)
    summary = done.stdout.splitlines()[-1]
    found = re.search(r"(\d+) passed", summary)
    assert found is not None, done.stdout
    assert int(found[1]) >= 15
    assert "failed" not in summary
