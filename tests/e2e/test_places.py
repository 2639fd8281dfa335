"""Promoting through a folder, and by crane, with the real command line and a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imgctl_core.testing.images import make_artifact, sample_image
from imgctl_core.testing.registry import Registry

Registries = tuple[Registry, Registry, Registry]


def test_an_image_crosses_an_air_gap(stack: Any, registries: Registries, tmp_path: Path) -> None:
    dev, _, prod = registries
    image = dev.put_image("team/app", "v1", sample_image("gap"))
    sbom = dev.put_image(
        "team/app", "", make_artifact(b"{}", "application/spdx+json", subject=image)
    )
    stick = tmp_path / "stick"
    stick.mkdir()
    stack.start(IMGCTL_REGISTRY_STICK=f"oci-layout:{stick}")
    out = stack.run("promote", "team/app:v1", "--source", "dev", "-d", "stick", "-o", "json")
    assert out.code == 0, out.err
    assert out.json["items"][0]["digest"] == image.digest
    assert json.loads((stick / "team/app/oci-layout").read_bytes())
    done = stack.promote("team/app:v1", "-o", "json", source="stick")
    assert done.code == 0, done.err
    assert done.json["items"][0]["digest"] == image.digest
    assert prod.tags("team/app")["v1"] == image.digest
    assert sbom.digest in prod.manifests("team/app")
    again = stack.promote("team/app:v1", "-o", "json", source="stick")
    assert again.json["items"][0]["outcome"] == "unchanged"


def test_crane_promotes_when_the_server_is_told_so(
    stack: Any, registries: Registries, peer: Callable[[str], Path], tmp_path: Path
) -> None:
    dev, _, prod = registries
    images = {f"app-{n}": dev.put_image(f"app-{n}", "v1", sample_image(f"{n}")) for n in range(3)}
    config = tmp_path / "imgctl.toml"
    config.write_text(f'[plugins.image]\ncrane_path = "{peer("crane")}"\n')
    stack.start(IMGCTL_CONFIG=str(config), IMGCTL_IMAGE_ENGINE="crane")
    done = stack.promote("app-0:v1", "app-1:v1", "app-2:v1", "-o", "json")
    assert done.code == 0, done.err
    assert {item["outcome"] for item in done.json["items"]} == {"promoted"}
    assert all("crane" in "".join(item["notes"]) for item in done.json["items"])
    assert {name: prod.tags(name) for name in images} == {
        name: {"v1": image.digest} for name, image in images.items()
    }
    assert any("crane/" in request.headers.get("User-Agent", "") for request in prod.requests)
    refused = stack.promote("app-0:v1", "--referrers", "all")
    assert refused.code != 0
    assert "by crane" in refused.err
    missing = stack.promote("app-9:v1", "-o", "json")
    assert missing.json["items"][0]["error"]["reason"] == "ARTIFACT_NOT_FOUND"
