"""How far a destination is trusted: not at all with `deep`, and then it is repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import urllib3

from imgctl_core.context import Context
from imgctl_core.errors import VerificationFailed
from imgctl_core.testing.httpd import Fault, Response
from imgctl_core.testing.images import SampleManifest, make_artifact, sample_image
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench


def lose(registry: Registry, what: str, digest: str) -> None:
    """Take a blob or a manifest away behind everybody's back."""
    url = f"{registry.url}/v2/app/{what}/{digest}"
    assert urllib3.request("DELETE", url).status == 202
    registry.clear_requests()


def writes(registry: Registry) -> list[str]:
    return [r.target for r in registry.requests if r.method not in ("GET", "HEAD")]


@pytest.fixture
def image(dev: Registry, prod: Registry) -> SampleManifest:
    """Return an image that is at both ends, whole."""
    image = dev.put_image("app", "v1", sample_image("deep"))
    return prod.put_image("app", "v1", image)


def test_an_image_that_is_whole_is_unchanged_and_was_looked_at(
    bench: Bench, prod: Registry, image: SampleManifest
) -> None:
    assert bench.promote("app:v1", deep=True).plan.unchanged
    assert writes(prod) == []
    for part in image.all_manifests():
        assert prod.count("GET", f"manifests/{part.digest}") == 1, "read, not only asked for"
    for digest in image.all_blobs():
        assert prod.count("HEAD", f"blobs/{digest}") == 1


def test_a_lost_blob_is_found_and_brought(
    bench: Bench, prod: Registry, image: SampleManifest
) -> None:
    lost = sorted(image.all_blobs())[0]
    lose(prod, "blobs", lost)
    assert bench.promote("app:v1").plan.unchanged
    done = bench.promote("app:v1", deep=True)
    assert (done.plan.current, done.plan.complete) == (image.digest, False)
    assert done.digest == image.digest
    assert lost in prod.blobs("app")
    assert done.progress.bytes_copied == len(image.all_blobs()[lost])
    assert not [target for target in writes(prod) if target.endswith("/v1")]
    assert bench.promote("app:v1", deep=True).plan.unchanged


def test_lost_manifests_are_found_and_put(
    bench: Bench, prod: Registry, image: SampleManifest
) -> None:
    lost = image.children[1].digest
    lose(prod, "manifests", lost)
    done = bench.promote("app:v1", deep=True)
    assert not done.plan.complete
    assert lost in prod.manifests("app")
    assert writes(prod) == [f"/v2/app/manifests/{lost}"]


@pytest.mark.parametrize("root", [True, False])
def test_wrong_bytes_of_a_manifest_are_found_and_replaced(
    bench: Bench, prod: Registry, image: SampleManifest, root: bool
) -> None:
    damaged = image if root else image.children[0]
    # A disk that keeps giving other bytes until they are written again.
    wrong = Response(200, {"Content-Type": damaged.media_type}, damaged.content + b" ")
    written = False

    def spoil(request: object) -> Fault | None:
        nonlocal written
        target, method = request.target, request.method  # type: ignore[attr-defined]
        if damaged.digest in target and method == "PUT":
            written = True
        spoilt = damaged.digest in target and method == "GET" and not written
        return Fault(answer=wrong) if spoilt else None

    prod.faults.append(spoil)
    done = bench.promote("app:v1", deep=True)
    assert not done.plan.complete
    assert written
    assert bench.promote("app:v1", deep=True).plan.unchanged


def test_a_blob_of_the_wrong_size_is_missing(
    bench: Bench, prod: Registry, image: SampleManifest
) -> None:
    digest = sorted(image.all_blobs())[0]
    short = Response(200, {"Content-Length": "3"})
    prod.inject(Fault(answer=short), method="HEAD", pattern=f"blobs/{digest}", times=1)
    plan = bench.plan("app:v1", deep=True)
    assert not plan.complete
    assert plan.bytes_to_copy == len(image.all_blobs()[digest])


def test_a_lost_referrer_is_found_and_brought(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    found = make_artifact(b"sbom", "application/spdx+json", subject=image)
    for registry in (dev, prod):
        registry.put_image("app", "", found)
    assert bench.promote("app:v1", deep=True).plan.unchanged
    blob = max(found.blobs, key=lambda d: len(found.blobs[d]))
    lose(prod, "blobs", blob)
    assert not bench.promote("app:v1", deep=True).plan.complete
    assert blob in prod.blobs("app")
    lose(prod, "manifests", found.digest)
    assert not bench.promote("app:v1", deep=True).plan.complete
    assert found.digest in prod.manifests("app")


def test_a_referrer_that_is_only_listed_is_brought(
    make_bench: MakeBench, make_registry: Callable[..., Registry], dev: Registry
) -> None:
    """The list under the fallback tag names it still."""
    prod = make_registry(referrers=False)
    image = dev.put_image("app", "v1", sample_image("new"))
    found = dev.put_image("app", "", make_artifact(b"sbom", "text/spdx", subject=image))
    bench = make_bench(dev=dev.url, prod=prod.url)
    bench.promote("app:v1")
    lose(prod, "manifests", found.digest)
    assert bench.promote("app:v1", referrers="refresh").plan.unchanged
    assert not bench.promote("app:v1", deep=True).plan.complete
    assert found.digest in prod.manifests("app")
    assert bench.promote("app:v1", deep=True).plan.unchanged


def test_a_new_image_can_be_promoted_with_deep(bench: Bench, dev: Registry, prod: Registry) -> None:
    image = dev.put_image("app", "v1", sample_image("new"))
    # A part is there, and not what it says.
    prod.put_image("app", "", image.children[0])
    assert bench.promote("app:v1", deep=True).digest == image.digest
    assert prod.tags("app") == {"v1": image.digest}


def test_what_stays_missing_fails_the_promotion(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    """The registry takes a blob, and does not have it."""
    image = dev.put_image("app", "v1", sample_image("new"))
    digest = sorted(image.all_blobs())[0]
    prod.inject(Fault(answer=Response(404)), method="HEAD", pattern=f"blobs/{digest}", times=None)
    with pytest.raises(VerificationFailed, match=digest):
        bench.promote("app:v1", deep=True)
    assert bench.promote("app:v1", referrers="none").plan.unchanged


def test_a_manifest_refused_for_a_lost_blob_is_healed(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    """Between the look and the manifest the destination lost what it said it had."""
    image = dev.put_image("app", "v1", sample_image("new"))
    prod.put_image("app", "", image)
    plan = bench.plan("app:v1")
    assert plan.bytes_to_copy == 0
    for part in image.all_manifests():
        lose(prod, "manifests", part.digest)
    for digest in image.all_blobs():
        lose(prod, "blobs", digest)
    bench.promoter.stage(plan, Context())
    bench.promoter.publish(plan, Context())
    assert bench.promoter.verify(plan, Context()) == image.digest
    assert set(image.all_blobs()) <= prod.blobs("app")


def test_a_validator_that_lags_is_waited_for(
    bench: Bench, dev: Registry, prod: Registry, no_waiting: None
) -> None:
    image = dev.put_image("app", "v1", sample_image("new"))
    lag = Response(400, {}, b'{"errors": [{"code": "BLOB_UNKNOWN", "message": "wait"}]}')
    child = image.children[0].digest
    late = prod.inject(Fault(answer=lag), method="PUT", pattern=child, times=2)
    uploads = len(image.all_blobs())
    bench.promote("app:v1")
    assert late.hits == 2
    assert prod.count("POST", "uploads") == uploads, "what is there is not sent again"


def test_without_deep_manifests_are_asked_for_and_not_read(
    make_bench: MakeBench, make_registry: Callable[..., Registry]
) -> None:
    dev, prod = make_registry(), make_registry()
    image = dev.put_image("app", "v1", sample_image("new"))
    prod.put_image("app", "", image)
    make_bench(dev=dev.url, prod=prod.url).promote("app:v1")
    for child in image.children:
        assert prod.count("HEAD", f"manifests/{child.digest}") == 1
        assert prod.count("GET", f"manifests/{child.digest}") == 0
