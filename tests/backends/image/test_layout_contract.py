"""The promises of every promoter, kept with OCI image layouts at either end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.promoter import ImagePromoter
from imgctl_core.testing.contract import PromoterContract
from imgctl_core.testing.harness import PromoterHarness
from imgctl_core.testing.httpd import Fault
from imgctl_core.testing.images import SampleManifest, sample_image
from imgctl_core.testing.registry import Registry

REPOSITORY = "team/app"


class End(Protocol):
    """One side, without the code under test."""

    address: str

    def seed(self, image: SampleManifest) -> None: ...
    def tags(self) -> Mapping[str, str]: ...
    def everything(self) -> object: ...
    def spoil(self) -> None: ...


class RegistryEnd:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.address = registry.url

    def seed(self, image: SampleManifest) -> None:
        self._registry.put_image(REPOSITORY, "v1", image)

    def tags(self) -> Mapping[str, str]:
        return self._registry.tags(REPOSITORY)

    def everything(self) -> object:
        end = self._registry
        return end.tags(REPOSITORY), end.manifests(REPOSITORY), end.blobs(REPOSITORY)

    def spoil(self) -> None:
        self._registry.inject(Fault(corrupt=True), method="GET", times=None)


class LayoutEnd:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"oci-layout:{folder}"

    def seed(self, image: SampleManifest) -> None:
        layout = self._folder / REPOSITORY
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        parts = {part.digest: part.content for part in image.all_manifests()}
        for digest, content in {**image.all_blobs(), **parts}.items():
            (blobs / digest.partition(":")[2]).write_bytes(content)
        name = {"org.opencontainers.image.ref.name": "v1"}
        index = {"schemaVersion": 2, "manifests": [{**image.descriptor, "annotations": name}]}
        (layout / "index.json").write_text(json.dumps(index))

    def tags(self) -> Mapping[str, str]:
        file = self._folder / REPOSITORY / "index.json"
        if not file.exists():
            return {}
        return {
            entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"]
            for entry in json.loads(file.read_bytes())["manifests"]
            if "annotations" in entry
        }

    def everything(self) -> object:
        found = sorted(path for path in self._folder.rglob("*") if path.is_file())
        return [(str(path), path.read_bytes()) for path in found]

    def spoil(self) -> None:
        for file in (self._folder / REPOSITORY / "blobs" / "sha256").iterdir():
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0xFF
            file.write_bytes(content)


class PlacesHarness(PromoterHarness):
    reference = f"{REPOSITORY}:v1"
    bad_references = ("app", "../app:v1", "app/../../etc:v1", "/app:v1", "app:v1\n")

    def __init__(self, ends: Mapping[str, End]) -> None:
        self._ends = ends

    def make(self) -> ImagePromoter:
        endpoints = {name: ImageEndpoint(registry=end.address) for name, end in self._ends.items()}
        return ImagePromoter(ImageSettings(), endpoints)

    def seed(self, environment: str, variant: int) -> None:
        self._ends[environment].seed(sample_image(f"variant {variant}", layer_bytes=20_000))

    def snapshot(self, environment: str) -> Mapping[str, object]:
        return self._ends[environment].tags()

    def inventory(self, environment: str) -> object:
        return self._ends[environment].everything()

    def spoil(self) -> bool:
        self._ends["dev"].spoil()
        return True


@pytest.fixture
def layout_end(tmp_path: Path) -> Callable[[str], LayoutEnd]:
    def make(name: str) -> LayoutEnd:
        folder = tmp_path / name
        folder.mkdir()
        return LayoutEnd(folder)

    return make


@pytest.mark.usefixtures("no_waiting")
class TestRegistryToLayout(PromoterContract):
    @pytest.fixture
    def harness(
        self, make_registry: Callable[..., Registry], layout_end: Callable[[str], LayoutEnd]
    ) -> PromoterHarness:
        return PlacesHarness({"dev": RegistryEnd(make_registry()), "prod": layout_end("prod")})


@pytest.mark.usefixtures("no_waiting")
class TestLayoutToRegistry(PromoterContract):
    @pytest.fixture
    def harness(
        self, make_registry: Callable[..., Registry], layout_end: Callable[[str], LayoutEnd]
    ) -> PromoterHarness:
        return PlacesHarness({"dev": layout_end("dev"), "prod": RegistryEnd(make_registry())})


@pytest.mark.usefixtures("no_waiting")
class TestLayoutToLayout(PromoterContract):
    @pytest.fixture
    def harness(self, layout_end: Callable[[str], LayoutEnd]) -> PromoterHarness:
        return PlacesHarness({"dev": layout_end("dev"), "prod": layout_end("prod")})
