"""What every promoter must do, done by this one."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from imgctl_folder import Folder, FolderPromoter

from imgctl_core import NoSettings
from imgctl_core.testing import PromoterContract, PromoterHarness


class FolderHarness(PromoterHarness):
    reference = "report:1.4"
    bad_references = ("report", "../report:1.4", ".hidden:1", "report:")

    def __init__(self, root: Path) -> None:
        self.folders = {name: root / name for name in (self.source, self.destination)}
        for folder in self.folders.values():
            folder.mkdir()

    def make(self) -> FolderPromoter:
        endpoints = {name: Folder(path=path) for name, path in self.folders.items()}
        return FolderPromoter(NoSettings(), endpoints)

    def seed(self, environment: str, variant: int) -> None:
        (self.folders[environment] / "report-1.4").write_text(f"report number {variant}")

    def snapshot(self, environment: str) -> Mapping[str, object]:
        files = self.folders[environment].glob("[!.]*")
        return {file.name: file.read_bytes() for file in files}

    def inventory(self, environment: str) -> object:
        files = self.folders[environment].iterdir()
        return {file.name: file.read_bytes() for file in files}

    def spoil(self) -> bool:
        self.seed(self.source, 3)
        return True


class TestFolderPromoter(PromoterContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> FolderHarness:
        return FolderHarness(tmp_path)
