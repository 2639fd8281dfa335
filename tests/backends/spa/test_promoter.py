"""A whole promotion against the stub: what is copied, when, and what stops it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgctl_backends.spa import imgctl_promoters
from imgctl_backends.spa.endpoint import SpaEndpoint
from imgctl_backends.spa.promoter import SpaPromoter
from imgctl_core import Context
from imgctl_core.errors import (
    ArtifactNotFound,
    Conflict,
    EndpointFailed,
    EndpointNotFound,
    VerificationFailed,
)

BUILD = {
    "v1/assets/app.abc.js": b"console.log(1)",
    "v1/assets/app.abc.css": b"body{}",
    "v1/asset-manifest.json": b"{}",
    "v1/about.html": b"<p>",
    "v1/docs/index.html": b"<i>",
    "v1/index.html": b"<b>",
    "v1/sw.js": b"self",
}


@pytest.fixture
def build(stub: Any) -> dict[str, bytes]:
    for key, body in BUILD.items():
        stub.put("shop-dev", key, body, **{"Content-Type": "x/y", "x-amz-meta-a": "b"})
    return BUILD


def test_the_hook_gives_the_class() -> None:
    assert imgctl_promoters() == [SpaPromoter]
    assert (SpaPromoter.kind, SpaPromoter.family, SpaPromoter.family_field) == (
        "spa",
        "SPA",
        "suffix",
    )


def test_everything_arrives_with_entry_points_last(stub: Any, bench: Any, build: Any) -> None:
    context = Context()
    plan = bench.promote(context=context)
    assert {k: v.body for k, v in stub.buckets["shop-prod"].items()} == build
    assert stub.buckets["shop-prod"]["v1/index.html"].headers["x-amz-meta-a"] == "b"
    copied = stub.copied()
    assert set(copied[:2]) == {"v1/assets/app.abc.js", "v1/assets/app.abc.css"}
    assert set(copied[2:4]) == {"v1/asset-manifest.json", "v1/sw.js"}
    assert copied[4:] == ["v1/about.html", "v1/docs/index.html", "v1/index.html"]
    total = sum(len(body) for body in build.values())
    assert plan.bytes_to_copy == total
    seen = context.progress.snapshot()
    assert (seen.bytes_total, seen.bytes_copied, seen.bytes_present) == (total, total, 0)


def test_the_plan_writes_nothing_and_is_json(stub: Any, bench: Any, build: Any) -> None:
    plan = bench.plan()
    assert stub.writes() == []
    assert plan.current is None
    assert json.loads(json.dumps(dict(plan.data)))["destination"] == "s3://shop-prod/v1/"
    assert [step.subject for step in plan.steps][-1] == "index.html"


def test_stage_shows_nothing(stub: Any, bench: Any, build: Any) -> None:
    plan = bench.plan()
    bench.promoter.stage(plan, Context())
    assert sorted(stub.buckets["shop-prod"]) == ["v1/assets/app.abc.css", "v1/assets/app.abc.js"]
    again = bench.plan()
    assert again.current is None
    assert again.bytes_present == 20


def test_the_same_again_is_unchanged_and_costs_no_write(stub: Any, bench: Any, build: Any) -> None:
    first = bench.promote()
    before = len(stub.writes())
    again = bench.plan()
    assert again.unchanged
    assert again.digest == first.digest == again.current
    assert len(stub.writes()) == before


def test_a_crash_before_publish_is_finished_by_the_same_request(
    stub: Any, bench: Any, build: Any
) -> None:
    bench.promoter.stage(bench.plan(), Context())
    staged = stub.copied()
    context = Context()
    bench.promote(context=context)
    assert {k: v.body for k, v in stub.buckets["shop-prod"].items()} == build
    assert len(stub.copied()) == len(set(stub.copied()))
    assert context.progress.snapshot().bytes_present == 20
    assert len(staged) == 2


def test_a_prefix_never_matches_a_longer_version(stub: Any, bench: Any, build: Any) -> None:
    stub.put("shop-dev", "v10/index.html", b"other")
    stub.put("shop-dev", "v1.html", b"other")
    bench.promote()
    assert all(key.startswith("v1/") for key in stub.buckets["shop-prod"])


def test_nothing_to_copy_is_an_error(stub: Any, bench: Any, build: Any) -> None:
    stub.put("shop-dev", "v2/", b"")
    with pytest.raises(ArtifactNotFound, match=r"s3://shop-dev/v2/ holds no file but 1 folder"):
        bench.plan("shop:v2")
    with pytest.raises(ArtifactNotFound, match="holds no file"):
        bench.plan("shop:v3")


def test_missing_buckets(stub: Any, bench: Any, build: Any) -> None:
    stub.buckets["lost-dev"] = {"v1/index.html": stub.buckets["shop-dev"]["v1/index.html"]}
    with pytest.raises(EndpointNotFound, match="prod has no bucket lost-prod"):
        bench.plan("lost:v1")
    with pytest.raises(ArtifactNotFound, match="the bucket nope-dev does not exist"):
        bench.plan("nope:v1")


def test_an_environment_without_endpoint(bench: Any) -> None:
    item = bench.item()
    del bench.promoter.endpoints["prod"]
    with pytest.raises(EndpointNotFound, match="environment prod has no place"):
        bench.promoter.plan(item, Context())


def test_the_same_size_with_another_content_is_a_conflict(
    stub: Any, bench: Any, build: Any
) -> None:
    stub.put("shop-prod", "v1/index.html", b"<u>")
    with pytest.raises(Conflict, match=r"holds 1 file with another content.*'index.html'"):
        bench.plan()
    assert stub.writes() == []


def test_a_conflict_names_a_few_files_and_counts_the_rest(
    stub: Any, bench: Any, build: Any
) -> None:
    for key in build:
        stub.put("shop-prod", key, b"something else")
    with pytest.raises(Conflict, match=r"holds 7 files .* and 2 more"):
        bench.plan()


def test_replace_overwrites_with_the_listed_tag_as_guard(stub: Any, bench: Any, build: Any) -> None:
    stub.put("shop-prod", "v1/index.html", b"<u>")
    stub.put("shop-prod", "v1/old.js", b"kept")
    tag = stub.buckets["shop-prod"]["v1/index.html"].etag
    plan = bench.promote(replace=True)
    assert plan.current not in (None, plan.digest)
    assert stub.buckets["shop-prod"]["v1/index.html"].body == b"<b>"
    assert stub.buckets["shop-prod"]["v1/old.js"].body == b"kept"
    (asked,) = (a for a in stub.asked if a.copies and a.key == "v1/index.html")
    assert asked.headers["if-match"] == f'"{tag}"'


def test_publish_looks_again_before_it_writes(stub: Any, bench: Any, build: Any) -> None:
    plan = bench.plan()
    bench.promoter.stage(plan, Context())
    stub.put("shop-prod", "v1/index.html", b"somebody else's")
    with pytest.raises(Conflict, match=r"'index\.html'"):
        bench.promoter.publish(plan, Context())
    assert "v1/about.html" not in stub.buckets["shop-prod"]


def test_publish_brings_back_an_asset_that_went_away(stub: Any, bench: Any, build: Any) -> None:
    plan = bench.plan()
    bench.promoter.stage(plan, Context())
    del stub.buckets["shop-prod"]["v1/assets/app.abc.js"]
    bench.promoter.publish(plan, Context())
    copied = stub.copied()
    assert copied.index("v1/index.html") > copied.index("v1/assets/app.abc.js", 2)


def test_publish_again_does_nothing(stub: Any, bench: Any, build: Any) -> None:
    plan = bench.promote()
    before = len(stub.writes())
    bench.promoter.publish(plan, Context())
    assert len(stub.writes()) == before


@pytest.mark.parametrize("harm", ["missing", "different"])
def test_verify_reads_the_destination_anew(stub: Any, bench: Any, build: Any, harm: str) -> None:
    plan = bench.promote()
    if harm == "missing":
        del stub.buckets["shop-prod"]["v1/sw.js"]
    else:
        stub.put("shop-prod", "v1/sw.js", b"evil")
    with pytest.raises(VerificationFailed, match=r"sw\.js"):
        bench.promoter.verify(plan, Context())


def test_folder_markers_are_skipped_and_counted(stub: Any, bench: Any, build: Any) -> None:
    stub.put("shop-dev", "v1/", b"")
    stub.put("shop-dev", "v1/assets/", b"")
    assert bench.promote().data["markers_skipped"] == 2
    assert not [key for key in stub.buckets["shop-prod"] if key.endswith("/")]


def test_what_the_source_lacks_stays_and_is_counted(stub: Any, bench: Any, build: Any) -> None:
    stub.put("shop-prod", "v1/old.abc.js", b"still loaded by open tabs")
    assert bench.promote().data["files_not_in_source"] == 1
    assert "v1/old.abc.js" in stub.buckets["shop-prod"]


def test_the_digest_is_of_keys_sizes_and_contents(stub: Any, bench: Any, build: Any) -> None:
    first = bench.plan().digest
    stub.put("shop-dev", "v2/index.html", b"<b>")
    other = bench.plan("shop:v2").digest
    stub.put("shop-dev", "v3/index.html", b"<b>")
    assert bench.plan("shop:v3").digest == other != first
    stub.put("shop-dev", "v3/index.html", b"<i>")
    assert bench.plan("shop:v3").digest != other


def test_many_pages_are_one_version(stub: Any, bench: Any) -> None:
    stub.page_size = 7
    for number in range(50):
        stub.put("shop-dev", f"v1/f{number}.js", b"%d" % number)
    bench.promote()
    assert len(stub.buckets["shop-prod"]) == 50


ODD = [
    "a b.js", "a+b.js", "a%20b.js", "a?b.js", "a#b.js", "a;b&c=d.js", "é.js", "😀.js",
    "a//b.js", "/a.js", "a'b\"c.js", "a<b>.js", "~a$!*(),:@.js", "a\\b.js", "x" * 1000,
]  # fmt: skip


def test_odd_keys_arrive_under_their_own_names(stub: Any, bench: Any) -> None:
    for number, key in enumerate(ODD):
        stub.put("shop-dev", f"v1/{key}", b"%d" % number)
    bench.promote()
    held = {key: found.body for key, found in stub.buckets["shop-prod"].items()}
    assert held == {f"v1/{key}": b"%d" % number for number, key in enumerate(ODD)}
    assert bench.plan().unchanged


@pytest.mark.parametrize(
    "key", ["a/../b", "..", "./a", "a/.", "a\nb", "a\x00b", "a\x7fb", "a\x85b"]
)
def test_keys_that_could_lead_elsewhere_are_refused(stub: Any, bench: Any, key: str) -> None:
    stub.put("shop-dev", "v1/index.html", b"x")
    stub.put("shop-dev", f"v1/{key}", b"x")
    with pytest.raises(EndpointFailed, match="which is refused"):
        bench.plan()
    assert stub.writes() == []


def test_a_key_outside_the_prefix_is_refused(stub: Any, bench: Any, build: Any, reply: Any) -> None:
    page = (
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>v2/x</Key><Size>1</Size>"
        "<ETag>a</ETag></Contents></ListBucketResult>"
    )
    stub.faults.append(
        lambda a: (
            reply(body=page.encode())
            if a.query.get("prefix") and "max-keys" not in a.query
            else None
        )
    )
    with pytest.raises(EndpointFailed, match="it is not under v1/"):
        bench.plan()


def test_describe_and_same(monkeypatch: pytest.MonkeyPatch, bench: Any) -> None:
    promoter = bench.promoter
    plain, custom = SpaEndpoint(suffix="a"), SpaEndpoint(suffix="a", endpoint_url="http://h:1/")
    assert promoter.describe(plain) == "s3://*-a"
    assert promoter.describe(custom) == "http://h:1/*-a"
    assert promoter.same(plain, SpaEndpoint(suffix="a", profile="other", region="eu-west-1"))
    assert not promoter.same(plain, SpaEndpoint(suffix="b"))
    assert not promoter.same(plain, custom)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://H:1")
    assert promoter.same(plain, custom)
