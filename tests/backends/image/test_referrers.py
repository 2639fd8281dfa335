"""What hangs on an image travels with it: referrers and cosign's tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from imgctl_core.context import Context, ProgressCounter
from imgctl_core.errors import EndpointFailed, PromotionError, RequestError
from imgctl_core.models import Plan
from imgctl_core.testing.httpd import Fault, Response
from imgctl_core.testing.images import (
    OCI_INDEX,
    SampleManifest,
    make_artifact,
    make_index,
    sample_image,
)
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

SBOM = "application/spdx+json"
SIGNATURE = "application/vnd.cncf.notary.signature"
NOTES = {"org.example.by": "ci", "org.example.why": "release"}


def refer(
    registry: Registry,
    subject: SampleManifest,
    content: bytes = b"sbom",
    kind: str = SBOM,
    **annotations: str,
) -> SampleManifest:
    """Put an artifact that refers to a manifest of `app`."""
    made = make_artifact(content, kind, subject=subject, annotations=annotations or NOTES)
    return registry.put_image("app", "", made)


def tagged(registry: Registry, subject: SampleManifest, suffix: str, content: bytes = b"s") -> str:
    """Put what cosign puts: an artifact under a tag made of the subject's digest."""
    tag = subject.digest.replace(":", "-") + suffix
    registry.put_image("app", tag, make_artifact(content, "application/vnd.dev.cosign"))
    return tag


def list_under_tag(registry: Registry, subject: SampleManifest, *found: SampleManifest) -> None:
    """Write the list of referrers as a client of a registry without the API does."""
    entries = [{**one.descriptor, "artifactType": SBOM, "annotations": NOTES} for one in found]
    put_list(registry, subject, entries)


def put_list(registry: Registry, subject: SampleManifest, entries: list[Any]) -> None:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    tag = subject.digest.replace(":", "-")
    registry.put_manifest("app", json.dumps(index).encode(), OCI_INDEX, (tag,))


def listed(registry: Registry, subject: SampleManifest) -> list[dict[str, Any]]:
    found = registry.manifest("app", subject.digest.replace(":", "-"))
    assert found is not None, "there is no fallback tag"
    entries: list[dict[str, Any]] = json.loads(found.content)["manifests"]
    return entries


def arrived(registry: Registry, *parts: SampleManifest) -> bool:
    return all(
        part.digest in registry.manifests("app") and set(part.blobs) <= registry.blobs("app")
        for part in parts
    )


def puts(registry: Registry) -> list[str]:
    return [
        r.path.rpartition("/")[2]
        for r in registry.requests
        if r.method == "PUT" and "/manifests/" in r.path
    ]


def writes(registry: Registry) -> int:
    return sum(registry.count(method) for method in ("PUT", "POST", "PATCH", "DELETE"))


@pytest.fixture
def image(dev: Registry) -> SampleManifest:
    return dev.put_image("app", "v1", sample_image("referred"))


def test_referrers_of_the_image_and_of_its_children_arrive_before_the_tag(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    found = [refer(dev, image), *(refer(dev, child, b"c", SBOM) for child in image.children)]
    done = bench.promote("app:v1")
    assert done.digest == image.digest
    assert arrived(prod, *found)
    assert puts(prod)[-1] == "v1"
    assert {part.digest for part in found} <= set(puts(prod)[:-1])
    # The registry lists them by itself, so no tag is needed.
    assert set(prod.tags("app")) == {"v1"}
    assert done.notes == ()
    blobs = {**image.all_blobs(), **found[0].blobs, **found[1].blobs}
    assert done.progress.bytes_total == done.progress.bytes_copied == sum(map(len, blobs.values()))
    assert done.plan.bytes_to_copy == done.progress.bytes_total


def test_children_of_nested_indexes_have_referrers_too(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    inner = sample_image("inner")
    dev.put_image("app", "v1", make_index([make_index([inner])]))
    found = refer(dev, inner.children[1])
    bench.promote("app:v1")
    assert arrived(prod, found)


def test_referrers_of_referrers_arrive(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    sbom = refer(dev, image)
    signature = refer(dev, sbom, b"signed", SIGNATURE)
    again = refer(dev, signature, b"signed again", SIGNATURE)
    bench.promote("app:v1")
    assert arrived(prod, sbom, signature, again)


def test_a_referrer_may_be_an_index(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    part = dev.put_image("app", "", make_artifact(b"part", SBOM))
    index = json.loads(make_index([part]).content)
    index |= {"artifactType": SBOM, "subject": image.descriptor}
    made = SampleManifest(OCI_INDEX, json.dumps(index).encode(), children=(part,))
    dev.put_image("app", "", made)
    assert bench.promote("app:v1").notes == ()
    assert arrived(prod, made, part)


def test_lists_of_referrers_are_read_to_their_end(
    make_bench: MakeBench, make_registry: Callable[..., Registry], prod: Registry
) -> None:
    dev = make_registry(page_size=2)
    image = dev.put_image("app", "v1", sample_image("referred"))
    found = [refer(dev, image, f"{n}".encode()) for n in range(5)]
    tags = [tagged(dev, image, suffix) for suffix in (".att", ".sbom", ".sig")]
    make_bench(dev=dev.url, prod=prod.url).promote("app:v1")
    assert arrived(prod, *found)
    assert set(prod.tags("app")) == {"v1", *tags}
    assert dev.count("GET", "tags/list") == 2


def test_a_next_page_elsewhere_is_not_gone_to(
    bench: Bench,
    dev: Registry,
    prod: Registry,
    make_registry: Callable[..., Registry],
    image: SampleManifest,
) -> None:
    other = make_registry()
    link = f'<{other.url}/v2/app/tags/list?n=9&last=a>; rel="next"'
    page = Response(200, {"Content-Type": "application/json", "Link": link}, b'{"tags": ["a"]}')
    dev.inject(Fault(answer=page), pattern="tags/list", times=1)
    sig = tagged(dev, image, ".sig")
    bench.promote("app:v1")
    assert other.requests == ()
    assert dev.count("GET", "tags/list") == 2
    assert sig in prod.tags("app")


@pytest.mark.parametrize("answer", [Response(404), Response(200, {"Content-Type": "text/html"})])
def test_a_source_without_the_api_lists_under_a_tag(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest, answer: Response
) -> None:
    found = [refer(dev, image), refer(dev, image.children[0], b"child")]
    list_under_tag(dev, image, found[0])
    list_under_tag(dev, image.children[0], found[1])
    dev.inject(Fault(answer=answer), pattern="/referrers/", times=None)
    bench.promote("app:v1")
    assert arrived(prod, *found)
    assert dev.count("GET", "/referrers/") == 1, "one answer says that there is no such API"


def test_a_destination_without_the_api_gets_a_list(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    dev: Registry,
    image: SampleManifest,
) -> None:
    prod = make_registry(referrers=False)
    bench = make_bench(dev=dev.url, prod=prod.url)
    theirs = refer(prod, image, b"theirs")
    mark = {"org.example.keep": "me"}
    put_list(prod, image, [{**theirs.descriptor, "annotations": mark, "data": "eA=="}])
    found = [refer(dev, image, f"{n}".encode(), n=f"{n}") for n in range(3)]
    bench.promote("app:v1")
    entries = listed(prod, image)
    assert entries[0] == {**theirs.descriptor, "annotations": mark, "data": "eA=="}
    ours = {entry["digest"]: entry for entry in entries[1:]}
    assert set(ours) == {one.digest for one in found}
    for n, one in enumerate(found):
        assert ours[one.digest] == {
            **one.descriptor,
            "artifactType": SBOM,
            "annotations": {"n": f"{n}"},
        }
    fallback = image.digest.replace(":", "-")
    assert puts(prod).count(fallback) == 1
    assert puts(prod).index(fallback) < puts(prod).index("v1")
    # Once more: nothing is there twice, and nothing is put.
    prod.clear_requests()
    assert bench.promote("app:v1", referrers="refresh").plan.unchanged
    assert writes(prod) == 0
    assert len(listed(prod, image)) == 4


def test_a_list_is_completed_after_a_crash(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    dev: Registry,
    image: SampleManifest,
) -> None:
    """The referrer was put, its place in the list not."""
    prod = make_registry(referrers=False)
    found = refer(dev, image)
    prod.put_image("app", "", found)
    make_bench(dev=dev.url, prod=prod.url).promote("app:v1")
    assert [entry["digest"] for entry in listed(prod, image)] == [found.digest]


def test_something_else_under_the_fallback_tag_is_left_alone(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    dev: Registry,
    image: SampleManifest,
) -> None:
    prod = make_registry(referrers=False)
    tag = image.digest.replace(":", "-")
    theirs = prod.put_image("app", tag, sample_image("theirs").children[0])
    found = refer(dev, image)
    done = make_bench(dev=dev.url, prod=prod.url).promote("app:v1")
    assert prod.tags("app") == {"v1": image.digest, tag: theirs.digest}
    assert found.digest in done.notes[0]


def test_cosign_tags_arrive_before_the_image(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    child = image.children[0]
    tags = [tagged(dev, image, suffix, suffix.encode()) for suffix in (".sig", ".att", ".sbom")]
    tags.append(tagged(dev, child, ".sig", b"child"))
    unrelated = "sha256-" + "0" * 64 + ".sig"
    dev.put_image("app", unrelated, make_artifact(b"x", "y"))
    bench.promote("app:v1")
    held = dev.tags("app")
    assert prod.tags("app") == {tag: held[tag] for tag in (*tags, "v1")}
    assert puts(prod)[-1] == "v1"
    assert dev.count("GET", "tags/list") == 1


def test_a_signature_of_a_cosign_sbom_arrives(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    sbom = make_artifact(b"sbom", "application/vnd.dev.cosign")
    dev.put_image("app", image.digest.replace(":", "-") + ".sbom", sbom)
    signature = tagged(dev, sbom, ".sig")
    bench.promote("app:v1")
    assert signature in prod.tags("app")


def test_a_cosign_tag_that_differs_is_kept_unless_replacing(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    tag = tagged(dev, image, ".sig", b"ours")
    tagged(prod, image, ".sig", b"theirs")
    theirs = prod.tags("app")[tag]
    done = bench.promote("app:v1")
    assert prod.tags("app")[tag] == theirs
    assert len(done.notes) == 1
    assert tag in done.notes[0]
    assert theirs in done.notes[0]
    prod.delete_tag("app", "v1")
    assert bench.promote("app:v1", replace=True).notes == ()
    assert prod.tags("app")[tag] == dev.tags("app")[tag]


def test_a_cosign_tag_that_is_there_is_not_put_again(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    tag = tagged(dev, image, ".sig")
    tagged(prod, image, ".sig")
    assert bench.promote("app:v1").notes == ()
    assert tag not in puts(prod)


def test_without_a_list_of_tags_each_is_asked_for(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    dev.inject(Fault(answer=Response(405)), pattern="tags/list", times=None)
    tag = tagged(dev, image, ".sig")
    bench.promote("app:v1")
    assert tag in prod.tags("app")


def test_a_hidden_list_is_a_note(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    dev.inject(Fault(answer=Response(403)), pattern="tags/list|/referrers/", times=None)
    done = bench.promote("app:v1")
    assert prod.tags("app") == {"v1": image.digest}
    assert any("tags" in note and "403" in note for note in done.notes)
    assert any(image.digest in note and "403" in note for note in done.notes)


def test_none_asks_for_nothing(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    found = refer(dev, image)
    tagged(dev, image, ".sig")
    done = bench.promote("app:v1", referrers="none")
    assert done.digest == image.digest
    assert dev.count("GET", "/referrers/|/tags/") == prod.count("GET", "/referrers/|/tags/") == 0
    assert set(prod.tags("app")) == {"v1"}
    assert not arrived(prod, found)


def test_the_settings_say_what_travels_unless_it_is_asked_for(
    make_bench: MakeBench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    found = refer(dev, image)
    bench = make_bench(dev=dev.url, prod=prod.url, settings={"referrers": "none"})
    bench.promote("app:v1")
    assert not arrived(prod, found)
    assert not bench.promote("app:v1", referrers="refresh").plan.complete
    assert arrived(prod, found)


def test_an_unchanged_image_is_asked_for_nothing_else(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    prod.put_image("app", "v1", image)
    refer(dev, image)
    tagged(dev, image, ".sig")
    assert bench.promote("app:v1").plan.unchanged
    assert [r.method for r in (*dev.requests, *prod.requests)] == ["HEAD", "HEAD"]


def test_refresh_brings_what_came_later(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    bench.promote("app:v1")
    found = refer(dev, image, b"later")
    tag = tagged(dev, image.children[1], ".sig")
    prod.clear_requests()
    done = bench.promote("app:v1", referrers="refresh")
    assert (done.plan.current, done.plan.complete) == (image.digest, False)
    assert done.digest == image.digest
    assert arrived(prod, found)
    assert tag in prod.tags("app")
    assert "v1" not in puts(prod)
    assert prod.count("HEAD", "/blobs/") <= 2 * len(found.blobs) + 2, "the image is trusted"
    assert bench.promote("app:v1", referrers="refresh").plan.unchanged


REFUSALS = [
    Response(405, {}, b'{"errors": [{"code": "UNSUPPORTED", "message": "no"}]}'),
    Response(400, {}, b'{"errors": [{"code": "MANIFEST_INVALID"}]}'),
    Response(403),
    Response(413, {}, b"<html>"),
]


@pytest.mark.parametrize("answer", REFUSALS, ids=lambda r: str(r.status))
def test_what_is_refused_is_named(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest, answer: Response
) -> None:
    refused, taken = refer(dev, image), refer(dev, image, b"other")
    prod.inject(Fault(answer=answer), method="PUT", pattern=refused.digest, times=None)
    done = bench.promote("app:v1")
    assert prod.tags("app") == {"v1": image.digest}
    assert arrived(prod, taken)
    (note,) = done.notes
    assert refused.digest in note
    assert SBOM in note
    assert str(answer.status) in note


def test_a_refused_blob_of_a_referrer_stays_its_own(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    refused = refer(dev, image, b"nobody wants this")
    digest = max(refused.blobs, key=lambda d: len(refused.blobs[d]))
    answer = Response(400, {}, b'{"errors": [{"code": "SIZE_INVALID"}]}')
    prod.inject(Fault(answer=answer), method="PUT", pattern=f"digest={digest}", times=None)
    done = bench.promote("app:v1")
    assert prod.tags("app") == {"v1": image.digest}
    assert refused.digest in done.notes[0]
    assert refused.digest not in prod.manifests("app")


def test_an_immutable_cosign_tag_is_a_note(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    dev: Registry,
    image: SampleManifest,
) -> None:
    prod = make_registry(immutable_tags=True)
    tag = tagged(dev, image, ".sig", b"ours")
    tagged(prod, image, ".sig", b"theirs")
    done = make_bench(dev=dev.url, prod=prod.url).promote("app:v1", replace=True)
    assert prod.tags("app")["v1"] == image.digest
    assert prod.tags("app")[tag] != dev.tags("app")[tag]
    assert tag in done.notes[0]


def test_refusals_fail_where_the_settings_say_so(
    make_bench: MakeBench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    refused = refer(dev, image)
    prod.inject(Fault(answer=REFUSALS[0]), method="PUT", pattern=refused.digest, times=None)
    bench = make_bench(dev=dev.url, prod=prod.url, settings={"fail_on_refused": True})
    with pytest.raises(EndpointFailed, match=refused.digest):
        bench.promote("app:v1")
    assert prod.tags("app") == {}


def test_a_damaged_referrer_stays_behind(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    lost = make_artifact(b"lost", SBOM, subject=image)
    dev.put_manifest("app", lost.content, lost.media_type)
    done = bench.promote("app:v1")
    assert prod.tags("app") == {"v1": image.digest}
    assert lost.digest not in prod.manifests("app")
    assert lost.digest in done.notes[0]


def test_a_referrer_that_can_not_be_healed_stays_behind_alone(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    """Its blobs were at the destination when it was looked at, and are nowhere now."""
    good = refer(dev, image, b"good")
    parts = [make_artifact(text, SBOM, subject=image) for text in (b"one", b"two")]
    fields = [json.loads(part.content) for part in parts]
    fields[0]["layers"] += fields[1]["layers"]
    blobs = {**parts[0].blobs, **parts[1].blobs}
    lost = SampleManifest(parts[0].media_type, json.dumps(fields[0]).encode(), blobs)
    dev.put_image("app", "", lost)
    for blob in lost.blobs.values():
        prod.put_blob("app", blob)
    context = Context(progress=ProgressCounter(""))
    plan = bench.promoter.plan(bench.item("app:v1"), context)
    for registry in (dev, prod):
        for digest in set(lost.blobs) - set(good.blobs):
            urllib3.request("DELETE", f"{registry.url}/v2/app/blobs/{digest}")
    # The second one is still under way when the first is given up.
    dev.inject(Fault(delay=0.3), method="GET", pattern=f"blobs/{digest}", times=None)
    bench.promoter.stage(plan, context)
    bench.promoter.publish(plan, context)
    assert prod.tags("app") == {"v1": image.digest}
    assert arrived(prod, good)
    (note,) = context.progress.notes
    assert lost.digest in note


def test_lists_that_lie_are_not_believed(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    prod: Registry,
) -> None:
    dev = make_registry(referrers=False)
    image = dev.put_image("app", "v1", sample_image("referred"))
    stranger = dev.put_image("app", "", sample_image("stranger"))
    true = refer(dev, image)
    gone = "sha256:" + "1" * 64
    odd = {"mediaType": "text/x\x1b[31m", "digest": "sha256:" + "2" * 64, "size": 3}
    entries = [
        stranger.descriptor,
        true.descriptor,
        {**true.descriptor, "digest": gone},
        odd,
    ]
    put_list(dev, image, entries)
    done = make_bench(dev=dev.url, prod=prod.url).promote("app:v1")
    assert arrived(prod, true)
    assert stranger.digest not in prod.manifests("app")
    assert len(done.notes) == 3
    for digest in (stranger.digest, gone, str(odd["digest"])):
        assert any(digest in note for note in done.notes)
    assert all(note.isprintable() for note in done.notes)


def test_loops_end(bench: Bench, dev: Registry, prod: Registry, image: SampleManifest) -> None:
    """Two lists that name each other's subjects."""
    found = refer(dev, image)
    list_under_tag(dev, image, found)
    list_under_tag(dev, found, image.children[0])
    list_under_tag(dev, image.children[0], found)
    bench.promote("app:v1")
    assert arrived(prod, found)
    assert dev.count("GET", f"manifests/{found.digest}") == 1


def test_too_many_referrers_are_refused(
    bench: Bench,
    dev: Registry,
    prod: Registry,
    image: SampleManifest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imgctl_backends.image.copy.discovery._MOST_ATTACHMENTS", 2)
    for n in range(3):
        refer(dev, image, f"{n}".encode())
    with pytest.raises(EndpointFailed, match="too many") as caught:
        bench.promote("app:v1")
    assert "--referrers none" in caught.value.fix
    assert prod.repositories == ()


def test_an_endless_chain_is_refused(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    last = image
    for _ in range(20):
        last = refer(dev, last)
    with pytest.raises(EndpointFailed, match="too many"):
        bench.promote("app:v1")
    assert prod.repositories == ()


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"manifests": [{}]}', b'{"manifests": 1}'])
def test_lists_that_are_none_are_refused(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest, body: bytes
) -> None:
    answer = Response(200, {"Content-Type": OCI_INDEX}, body)
    dev.inject(Fault(answer=answer), pattern="/referrers/", times=None)
    with pytest.raises(EndpointFailed, match="referrers"):
        bench.promote("app:v1")
    assert prod.repositories == ()


def test_plans_name_attachments_and_survive_being_stored(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    found = refer(dev, image)
    tag = tagged(dev, image, ".sig")
    plan = bench.plan("app:v1")
    assert writes(prod) == 0
    subjects = [step.subject for step in plan.steps if step.action == "attach"]
    assert len(subjects) == 2
    assert any(found.digest in subject and SBOM in subject for subject in subjects)
    assert any(tag in subject for subject in subjects)
    again = Plan(plan.item, plan.digest, data=json.loads(json.dumps(dict(plan.data))))
    bench.promoter.stage(again, Context())
    assert set(prod.tags("app")) == {tag}
    bench.promoter.publish(again, Context())
    assert arrived(prod, found)


def test_staging_again_puts_the_same(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    refer(dev, image)
    tagged(dev, image, ".sig")
    plan = bench.plan("app:v1")
    bench.promoter.stage(plan, Context())
    before = (prod.manifests("app"), prod.blobs("app"), prod.tags("app"))
    uploads = prod.count("POST", "uploads")
    bench.promoter.stage(plan, Context())
    assert (prod.manifests("app"), prod.blobs("app"), prod.tags("app")) == before
    assert prod.count("POST", "uploads") == uploads


def test_one_promotion_lists_a_repository_once(bench: Bench, dev: Registry) -> None:
    for n in range(5):
        dev.put_image("app", f"v{n}", sample_image(f"image {n}"))
    for n in range(5):
        context = Context("pr_1", ProgressCounter(""))
        bench.promoter.plan(bench.item(f"app:v{n}"), context)
    assert dev.count("GET", "tags/list") == 1
    bench.promoter.plan(bench.item("app:v0"), Context("pr_2"))
    assert dev.count("GET", "tags/list") == 2


def test_publishing_is_one_look_and_one_put(
    bench: Bench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    refer(dev, image)
    plan = bench.plan("app:v1")
    bench.promoter.stage(plan, Context())
    dev.clear_requests()
    prod.clear_requests()
    bench.promoter.publish(plan, Context())
    assert dev.requests == ()
    assert [(r.method, r.path) for r in prod.requests] == [
        ("HEAD", "/v2/app/manifests/v1"),
        ("PUT", "/v2/app/manifests/v1"),
    ]


SIGNED = {"require_signed": True}


@pytest.mark.parametrize("child_only", [False, True])
def test_unsigned_images_are_refused_before_any_byte(
    make_bench: MakeBench, dev: Registry, prod: Registry, image: SampleManifest, child_only: bool
) -> None:
    refer(dev, image, b"an SBOM is no signature")
    tagged(dev, image, ".att")
    if child_only:
        tagged(dev, image.children[0], ".sig")
    bench = make_bench(dev=dev.url, prod=prod.url, settings=SIGNED)
    with pytest.raises(PromotionError, match="no signature"):
        bench.promote("app:v1")
    assert writes(prod) == 0
    assert prod.repositories == ()


BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "dev.sigstore.bundle.predicateType"


@pytest.mark.parametrize(
    ("kind", "annotations", "good"),
    [
        (SIGNATURE, {}, True),
        ("application/vnd.dev.cosign.artifact.sig.v1+json", {}, True),
        (BUNDLE, {PREDICATE: "https://sigstore.dev/cosign/sign/v1"}, True),
        (BUNDLE, {PREDICATE: "https://slsa.dev/provenance/v1"}, False),
    ],
)
def test_signatures_as_referrers_count(
    make_bench: MakeBench,
    dev: Registry,
    prod: Registry,
    image: SampleManifest,
    kind: str,
    annotations: dict[str, str],
    good: bool,
) -> None:
    found = refer(dev, image, b"signed", kind, **annotations)
    bench = make_bench(dev=dev.url, prod=prod.url, settings=SIGNED)
    if good:
        bench.promote("app:v1")
        assert arrived(prod, found)
    else:
        with pytest.raises(PromotionError, match="no signature"):
            bench.promote("app:v1")


def test_a_cosign_signature_counts(
    make_bench: MakeBench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    tag = tagged(dev, image, ".sig")
    make_bench(dev=dev.url, prod=prod.url, settings=SIGNED).promote("app:v1")
    assert tag in prod.tags("app")


def test_a_signature_that_is_refused_counts_for_nothing(
    make_bench: MakeBench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    tag = tagged(dev, image, ".sig")
    prod.inject(Fault(answer=REFUSALS[0]), method="PUT", pattern=tag, times=None)
    with pytest.raises(EndpointFailed, match=tag):
        make_bench(dev=dev.url, prod=prod.url, settings=SIGNED).promote("app:v1")
    assert prod.tags("app") == {}


def test_signatures_can_not_be_left_behind_where_they_are_required(
    make_bench: MakeBench, dev: Registry, prod: Registry, image: SampleManifest
) -> None:
    tagged(dev, image, ".sig")
    bench = make_bench(dev=dev.url, prod=prod.url, settings=SIGNED)
    with pytest.raises(RequestError, match="signed"):
        bench.plan("app:v1", referrers="none")
    for setting in ({"referrers": "none"}, {"engine": "crane"}):
        with pytest.raises(ValueError, match="require_signed"):
            make_bench(dev=dev.url, prod=prod.url, settings={**SIGNED, **setting})


def test_referrers_go_through_a_layout(
    make_bench: MakeBench, dev: Registry, prod: Registry, image: SampleManifest, tmp_path: Path
) -> None:
    """Layouts list referrers under the fallback tag, as other tools do."""
    found = [refer(dev, image), refer(dev, image.children[0], b"child")]
    tag = tagged(dev, image, ".sig")
    bench = make_bench(dev=dev.url, prod=prod.url, usb=f"oci-layout:{tmp_path}")
    assert bench.promote("app:v1", destination="usb").notes == ()
    assert bench.promote("app:v1", destination="usb", deep=True).plan.unchanged
    bench.promote("app:v1", source="usb")
    assert arrived(prod, *found)
    assert set(prod.tags("app")) == {"v1", tag}
