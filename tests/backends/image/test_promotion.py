"""Promotions where nothing goes wrong, and those that must be refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from imgctl_core.context import Context
from imgctl_core.errors import ArtifactNotFound, Conflict, EndpointFailed
from imgctl_core.models import Plan
from imgctl_core.testing.httpd import Fault
from imgctl_core.testing.images import (
    SampleManifest,
    make_image,
    make_index,
    make_layer,
    noise,
    sample_image,
)
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

MANIFESTS = "/manifests/"


def same_image(image: SampleManifest, registry: Registry, repository: str) -> bool:
    """Whether every manifest and blob of the image is there, manifests byte for byte."""
    found = [registry.manifest(repository, part.digest) for part in image.all_manifests()]
    return [part.content for part in image.all_manifests()] == [
        part.content for part in found if part is not None
    ] and set(image.all_blobs()) <= registry.blobs(repository)


@pytest.mark.parametrize("docker", [False, True])
def test_a_multi_architecture_image_arrives_byte_for_byte(
    bench: Bench, dev: Registry, prod: Registry, docker: bool
) -> None:
    image = dev.put_image("team/app", "v1", sample_image("x", docker=docker))
    done = bench.promote("team/app:v1")
    assert done.digest == image.digest == done.plan.digest
    assert prod.tags("team/app") == {"v1": image.digest}
    assert same_image(image, prod, "team/app")
    found = prod.manifest("team/app", "v1")
    assert found is not None
    assert found.media_type == image.media_type
    size = sum(map(len, image.all_blobs().values()))
    assert (done.progress.bytes_total, done.progress.bytes_copied) == (size, size)
    assert (done.progress.bytes_present, done.progress.bytes_mounted) == (0, 0)
    assert done.plan.bytes_to_copy == size
    assert prod.open_uploads == 0


@pytest.mark.parametrize("docker", [False, True])
def test_a_single_image_arrives(bench: Bench, dev: Registry, prod: Registry, docker: bool) -> None:
    image = dev.put_image(
        "app", "v1", make_image([make_layer({"a": noise("a", 3_000_000)})], docker=docker)
    )
    assert bench.promote("app:v1").digest == image.digest
    assert same_image(image, prod, "app")


def test_nested_indexes_arrive_children_first(bench: Bench, dev: Registry, prod: Registry) -> None:
    inner = sample_image("inner")
    image = dev.put_image("app", "v1", make_index([make_index([inner]), inner]))
    assert bench.promote("app:v1").digest == image.digest
    assert same_image(image, prod, "app")
    assert {r.status for r in prod.requests if r.method == "PUT"} == {201}


def test_the_tag_is_put_last_and_nothing_is_visible_after_stage(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    dev.put_image("app", "v1")
    plan = bench.plan("app:v1")
    assert prod.repositories == ()
    bench.promoter.stage(plan, Context())
    assert prod.tags("app") == {}
    bench.promoter.publish(plan, Context())
    puts = [r.target for r in prod.requests if r.method == "PUT" and MANIFESTS in r.target]
    assert puts[-1] == "/v2/app/manifests/v1"
    assert sum(target.endswith("/v1") for target in puts) == 1


def test_an_unchanged_image_costs_two_requests(bench: Bench, dev: Registry, prod: Registry) -> None:
    image = dev.put_image("app", "v1")
    prod.put_image("app", "v1", image)
    assert bench.promote("app:v1").plan.unchanged
    assert [(r.method, r.target) for r in dev.requests] == [("HEAD", "/v2/app/manifests/v1")]
    assert [(r.method, r.target) for r in prod.requests] == [("HEAD", "/v2/app/manifests/v1")]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_an_unchanged_image_costs_two_requests_with_credentials(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    tmp_path_factory: pytest.TempPathFactory,
    auth: str,
) -> None:
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text("s3cret\n")
    ends = [make_registry(auth=auth, username="bob", password="s3cret") for _ in range(2)]
    for end in ends:
        end.put_image("app", "v1", sample_image("x"))
    fields = [{"registry": end.url, "username": "bob", "password_file": secret} for end in ends]
    bench = make_bench(dev=fields[0], prod=fields[1])
    assert bench.promote("app:v1").plan.unchanged  # learns what they ask for
    for end in ends:
        end.clear_requests()
    assert bench.promote("app:v1").plan.unchanged
    for end in ends:
        asked = [r.method for r in end.requests if not r.path.endswith("/token")]
        assert asked == ["HEAD"]


def test_another_digest_is_a_conflict_that_names_both(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    ours = dev.put_image("app", "v1", sample_image("ours"))
    theirs = prod.put_image("app", "v1", sample_image("theirs"))
    with pytest.raises(Conflict) as caught:
        bench.promote("app:v1")
    assert ours.digest in caught.value.message
    assert theirs.digest in caught.value.message
    assert prod.count("", "uploads") == prod.count("PUT") == 0


def test_replace_replaces(bench: Bench, dev: Registry, prod: Registry) -> None:
    ours = dev.put_image("app", "v1", sample_image("ours"))
    theirs = prod.put_image("app", "v1", sample_image("theirs"))
    done = bench.promote("app:v1", replace=True)
    assert done.plan.current == theirs.digest
    assert prod.tags("app") == {"v1": ours.digest}


def test_a_tag_that_appears_after_the_plan_is_a_conflict(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    dev.put_image("app", "v1", sample_image("ours"))
    plan = bench.plan("app:v1")
    bench.promoter.stage(plan, Context())
    theirs = prod.put_image("app", "v1", sample_image("theirs"))
    with pytest.raises(Conflict, match=theirs.digest):
        bench.promoter.publish(plan, Context())
    assert prod.tags("app") == {"v1": theirs.digest}


def test_a_source_tag_that_moves_after_the_plan_changes_nothing(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    first = dev.put_image("app", "v1", sample_image("first"))
    plan = bench.plan("app:v1")
    dev.put_image("app", "v1", sample_image("second"))
    bench.promoter.stage(plan, Context())
    bench.promoter.publish(plan, Context())
    assert bench.promoter.verify(plan, Context()) == first.digest
    assert prod.tags("app") == {"v1": first.digest}


def test_a_digest_is_published_without_a_tag(bench: Bench, dev: Registry, prod: Registry) -> None:
    image = dev.put_image("app", "v1")
    done = bench.promote(f"app@{image.digest}")
    assert done.digest == image.digest
    assert prod.tags("app") == {}
    assert same_image(image, prod, "app")
    assert bench.plan(f"app@{image.digest}").unchanged


def test_a_manifest_that_is_there_without_a_tag_gets_it(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1")
    prod.put_image("app", "", image)
    done = bench.promote("app:v1")
    assert prod.tags("app") == {"v1": image.digest}
    assert done.progress.bytes_copied == 0
    assert done.progress.bytes_present == sum(map(len, image.all_blobs().values()))
    assert prod.count("", "uploads") == 0


def test_tag_and_digest_must_agree(bench: Bench, dev: Registry, prod: Registry) -> None:
    image = dev.put_image("app", "v1", sample_image("one"))
    other = dev.put_image("app", "v2", sample_image("two"))
    with pytest.raises(ArtifactNotFound) as caught:
        bench.plan(f"app:v1@{other.digest}")
    assert image.digest in caught.value.message
    assert bench.promote(f"app:v1@{image.digest}").digest == image.digest
    assert prod.tags("app") == {"v1": image.digest}


@pytest.mark.parametrize("ref", ["app:v2", "other:v1", "app@sha256:" + "0" * 64])
def test_what_the_source_does_not_have_is_not_found(
    bench: Bench, dev: Registry, prod: Registry, ref: str
) -> None:
    dev.put_image("app", "v1")
    with pytest.raises(ArtifactNotFound, match="dev"):
        bench.plan(ref)
    assert prod.repositories == ()


def test_blobs_that_are_there_are_not_sent_again(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1")
    blobs = image.all_blobs()
    there = sorted(blobs)[:2]
    for digest in there:
        prod.put_blob("app", blobs[digest])
    done = bench.promote("app:v1")
    present = sum(len(blobs[digest]) for digest in there)
    assert done.plan.bytes_present == done.progress.bytes_present == present
    assert prod.count("POST", "uploads") == len(blobs) - 2
    assert not any(dev.count("GET", f"blobs/{digest}") for digest in there)


def test_staging_twice_uploads_once(bench: Bench, dev: Registry, prod: Registry) -> None:
    image = dev.put_image("app", "v1")
    plan = bench.plan("app:v1")
    bench.promoter.stage(plan, Context())
    uploads, puts = prod.count("POST", "uploads"), prod.count("PUT", MANIFESTS)
    assert (uploads, puts) == (len(image.all_blobs()), 2)
    bench.promoter.stage(plan, Context())
    assert (prod.count("POST", "uploads"), prod.count("PUT", MANIFESTS)) == (uploads, puts)


def test_a_plan_survives_being_stored_as_json(bench: Bench, dev: Registry, prod: Registry) -> None:
    image = dev.put_image("app", "v1")
    plan = bench.plan("app:v1")
    again = Plan(plan.item, plan.digest, data=json.loads(json.dumps(plan.data)))
    bench.promoter.stage(again, Context())
    bench.promoter.publish(again, Context())
    assert same_image(image, prod, "app")


def test_plans_say_what_would_happen(bench: Bench, dev: Registry) -> None:
    image = dev.put_image("app", "v1")
    plan = bench.plan("app:v1")
    assert [step.action for step in plan.steps] == ["copy", "put", "put"]
    assert plan.steps[0].bytes == sum(map(len, image.all_blobs().values()))
    assert plan.steps[-1].subject.endswith("/app:v1")


def test_prefixes_are_part_of_the_repository(
    make_bench: MakeBench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("dev/team/app", "v1")
    bench = make_bench(dev=f"{dev.url}/dev", prod=f"{prod.url}/p/q")
    bench.promote("team/app:v1")
    assert same_image(image, prod, "p/q/team/app")


def test_one_registry_mounts_instead_of_copying(make_bench: MakeBench, dev: Registry) -> None:
    image = dev.put_image("dev/app", "v1")
    bench = make_bench(dev=f"{dev.url}/dev", prod=f"{dev.url}/prod")
    done = bench.promote("app:v1")
    assert same_image(image, dev, "prod/app")
    assert done.progress.bytes_mounted == sum(map(len, image.all_blobs().values()))
    assert done.progress.bytes_copied == 0
    assert dev.count("GET", "/blobs/") == dev.count("PUT", "/blobs/") == 0


def test_a_mount_that_becomes_a_session_is_used_as_one(
    make_bench: MakeBench, make_registry: Callable[..., Registry]
) -> None:
    one = make_registry(mount=False)
    image = one.put_image("dev/app", "v1")
    bench = make_bench(dev=f"{one.url}/dev", prod=f"{one.url}/prod")
    done = bench.promote("app:v1")
    assert same_image(image, one, "prod/app")
    assert done.progress.bytes_mounted == 0
    assert one.count("POST", "uploads") == len(image.all_blobs())
    assert one.open_uploads == 0


def test_a_refused_mount_is_an_upload(make_bench: MakeBench, dev: Registry) -> None:
    from imgctl_core.testing.httpd import Response

    image = dev.put_image("dev/app", "v1")
    dev.inject(Fault(answer=Response(403)), method="POST", pattern="mount=", times=None)
    bench = make_bench(dev=f"{dev.url}/dev", prod=f"{dev.url}/prod")
    bench.promote("app:v1")
    assert same_image(image, dev, "prod/app")


def test_absolute_locations_are_followed(
    make_bench: MakeBench, make_registry: Callable[..., Registry], dev: Registry
) -> None:
    image = dev.put_image("app", "v1")
    prod = make_registry(absolute_locations=True)
    make_bench(dev=dev.url, prod=prod.url).promote("app:v1")
    assert same_image(image, prod, "app")


def manifest_of(entries: list[dict[str, object]], config: bytes = b"{}") -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
                "size": len(config),
            },
            "layers": entries,
        }
    ).encode()


def test_sha512_blobs_travel(bench: Bench, dev: Registry, prod: Registry) -> None:
    layer = noise("layer", 300_000)
    digest = dev.put_blob("app", layer, "sha512")
    dev.put_blob("app", b"{}")
    entry = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest}
    content = manifest_of([{**entry, "size": len(layer)}])
    dev.put_manifest("app", content, tags=("v1",))
    bench.promote("app:v1")
    assert digest in prod.blobs("app")


def test_empty_and_repeated_blobs_travel(bench: Bench, dev: Registry, prod: Registry) -> None:
    empty = dev.put_blob("app", b"")
    dev.put_blob("app", b"{}")
    entry = {"mediaType": "application/x", "digest": empty, "size": 0}
    dev.put_manifest("app", manifest_of([entry, entry]), tags=("v1",))
    bench.promote("app:v1")
    assert empty in prod.blobs("app")
    assert prod.count("POST", "uploads") == 2


FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.mark.parametrize("held", [True, False])
def test_foreign_layers_travel_only_when_the_source_has_them(
    make_bench: MakeBench, dev: Registry, make_registry: Callable[..., Registry], held: bool
) -> None:
    layer = noise("foreign", 1000)
    digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    dev.put_blob("app", b"{}")
    if held:
        dev.put_blob("app", layer)
    entry = {"mediaType": FOREIGN, "digest": digest, "size": 1000, "urls": ["https://x.test/"]}
    dev.put_manifest("app", manifest_of([entry]), tags=("v1",))
    prod = make_registry(sparse=True)
    make_bench(dev=dev.url, prod=prod.url).promote("app:v1")
    assert (digest in prod.blobs("app")) is held
    assert set(prod.tags("app")) == {"v1"}


BAD = {
    "not json": b"<html>",
    "not an object": b"[]",
    "deep": b"[" * 100_000,
    "schema 1": b'{"schemaVersion": 1, "name": "x"}',
    "unknown type": b'{"schemaVersion": 2, "mediaType": "text/plain"}',
    "both": json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [],
            "layers": [],
        }
    ).encode(),
    "no layers": b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}',
    "bad digest": manifest_of([{"mediaType": "x", "digest": "sha256:../../x", "size": 1}]),
    "md5": manifest_of([{"mediaType": "x", "digest": "md5:" + "0" * 32, "size": 1}]),
    "bad size": manifest_of([{"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": -1}]),
    "huge size": manifest_of([{"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": 2**60}]),
    "size is a bool": manifest_of(
        [{"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": True}]
    ),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_manifests_that_make_no_sense_are_refused(
    bench: Bench, dev: Registry, prod: Registry, content: bytes
) -> None:
    from imgctl_core.testing.httpd import Response

    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    headers = {"Docker-Content-Digest": digest, "Content-Type": "application/json"}
    dev.inject(Fault(answer=Response(200, headers, content)), pattern=MANIFESTS, times=None)
    with pytest.raises(EndpointFailed):
        bench.promote("app:v1")
    assert prod.repositories == ()


def test_manifests_over_the_limit_are_refused(
    make_bench: MakeBench, dev: Registry, prod: Registry
) -> None:
    dev.put_image("app", "v1", make_index([sample_image()], annotations={"x": "y" * 70_000}))
    bench = make_bench(dev=dev.url, prod=prod.url, settings={"manifest_bytes": 65536})
    with pytest.raises(EndpointFailed, match="65536"):
        bench.promote("app:v1")


def test_too_deep_indexes_are_refused(bench: Bench, dev: Registry) -> None:
    image = sample_image()
    for _ in range(9):
        image = make_index([image])
    dev.put_image("app", "v1", image)
    with pytest.raises(EndpointFailed, match="too deep"):
        bench.plan("app:v1")


def test_a_sparse_index_is_refused(bench: Bench, dev: Registry, prod: Registry) -> None:
    image = sample_image()
    dev.put_manifest("app", image.content, image.media_type, ("v1",))
    missing = "|".join(child.digest for child in image.children)
    with pytest.raises(ArtifactNotFound, match=missing):
        bench.promote("app:v1")
    assert prod.repositories == ()


def test_a_blob_that_the_source_lost_is_named(bench: Bench, dev: Registry, prod: Registry) -> None:
    image = sample_image()
    for manifest in image.all_manifests():
        dev.put_manifest("app", manifest.content, manifest.media_type)
    dev.put_manifest("app", image.content, image.media_type, ("v1",))
    with pytest.raises(ArtifactNotFound, match="has no blob sha256:"):
        bench.promote("app:v1")
    assert prod.tags("app") == {}
    assert prod.open_uploads == 0


def test_a_source_that_does_not_say_digests_is_read(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    from imgctl_core.testing.httpd import Response

    image = dev.put_image("app", "v1", make_image([make_layer({"a": b"b"})]))
    headers = {"Content-Type": image.media_type}
    silent = Response(200, headers, image.content)
    dev.inject(Fault(answer=silent), pattern="/manifests/v1", times=None)
    assert bench.promote("app:v1").digest == image.digest
    assert same_image(image, prod, "app")
