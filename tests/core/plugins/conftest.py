"""Distributions on disk, as an installer would leave them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from textwrap import dedent

import pytest

from imgctl_core.plugins.finder import FoundPlugin, find_plugins

PROMOTER = """
from imgctl_core import ArtifactRef, NoSettings, Plan, PluginModel, Promoter, hookimpl

class Place(PluginModel):
    path: str

class NotePromoter(Promoter[Place, NoSettings]):
    kind = "note"
    family = "NOTE"
    family_field = "path"
    Endpoint = Place
    Settings = NoSettings
    def parse(self, text): return ArtifactRef(self.kind, text)
    def plan(self, item, context): return Plan(item, "sha256:00")
    def stage(self, plan, context): pass
    def publish(self, plan, context): pass
    def verify(self, plan, context): return plan.digest

@hookimpl
def imgctl_promoters():
    return [NotePromoter]
"""

Install = Callable[..., None]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(path)
    before = set(sys.modules)
    yield path
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Install:
    """Install a distribution with one module of the given source."""

    def install(
        source: str, *, module: str = "fake_note", dist: str = "imgctl-note", name: str = "note"
    ) -> None:
        (site / f"{module}.py").write_text(dedent(source))
        info = site / f"{dist.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[imgctl.plugins]\n{name} = {module}\n")

    return install


@pytest.fixture
def find(site: Path) -> Callable[[], tuple[FoundPlugin, ...]]:
    return lambda: find_plugins(distributions(path=[str(site)]))


@pytest.fixture
def promoter_source() -> str:
    return PROMOTER
