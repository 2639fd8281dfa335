"""The promises of every promoter, kept by this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.promoter import ImagePromoter
from imgctl_core.testing.contract import PromoterContract
from imgctl_core.testing.harness import PromoterHarness
from imgctl_core.testing.httpd import Fault
from imgctl_core.testing.images import sample_image
from imgctl_core.testing.registry import Registry

PASSWORD = "c0ntract-Pa55"


class ImageHarness(PromoterHarness):
    """An open registry as the source, one with tokens as the destination."""

    reference = "team/app:v1"
    bad_references = ("app", "App:v1", "host.example/app:v1", "app:v1\n")
    secrets = (PASSWORD,)

    def __init__(self, ends: Mapping[str, Registry], password_file: Path) -> None:
        self._ends = ends
        self._password_file = password_file

    def make(self) -> ImagePromoter:
        dev = ImageEndpoint(registry=self._ends["dev"].url)
        prod = ImageEndpoint(
            registry=self._ends["prod"].url, username="bob", password_file=self._password_file
        )
        return ImagePromoter(ImageSettings(), {"dev": dev, "prod": prod})

    def seed(self, environment: str, variant: int) -> None:
        image = sample_image(f"variant {variant}", layer_bytes=20_000)
        self._ends[environment].put_image("team/app", "v1", image)

    def snapshot(self, environment: str) -> Mapping[str, object]:
        return self._ends[environment].tags("team/app")

    def inventory(self, environment: str) -> object:
        end = self._ends[environment]
        held = {name: (end.tags(name), end.manifests(name)) for name in end.repositories}
        return held, {name: end.blobs(name) for name in end.repositories}, end.open_uploads

    def spoil(self) -> bool:
        self._ends["dev"].inject(Fault(corrupt=True), method="GET", times=None)
        return True


@pytest.mark.usefixtures("no_waiting")
class TestImagePromoter(PromoterContract):
    @pytest.fixture
    def harness(self, make_registry: Callable[..., Registry], tmp_path: Path) -> PromoterHarness:
        secret = tmp_path / "password"
        secret.write_text(PASSWORD)
        prod = make_registry(auth="bearer", username="bob", password=PASSWORD)
        return ImageHarness({"dev": make_registry(), "prod": prod}, secret)
