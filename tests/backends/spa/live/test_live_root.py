"""Going live by copies at the bucket's root."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from imgctl_core import Context
from imgctl_core.errors import Conflict, EndpointDenied, VerificationFailed

STATE = ".imgctl/live.json"
ENTRIES = ("sw.js", "about.html", "docs/index.html", "index.html")

on_both = pytest.mark.parametrize("server", ["versitygw", "moto"], indirect=True)


def state(stub: Any) -> Any:
    return json.loads(stub.buckets["shop-prod"][STATE].body)


def at_root(stub: Any) -> dict[str, bytes]:
    """Return what people get, without the versions and imgctl's own."""
    held = stub.buckets["shop-prod"].items()
    return {k: v.body for k, v in held if not k.startswith(("v1/", "v2/", "v3/", STATE))}


def copied(stub: Any) -> list[str]:
    return [asked.key for asked in stub.writes()]


@on_both
def test_versions_go_live_and_back_with_their_properties(
    server: str, live_bench: Any, make_client: Any, seed_server: Any
) -> None:
    client = make_client(server)
    seed_server(client, "v1", "v2")
    bench = live_bench(server, "root")

    def get(key: str) -> Any:
        return client.get_object(Bucket="shop-prod", Key=key)

    def live() -> set[str]:
        return {get(key)["Metadata"]["version"] for key in ENTRIES}

    bench.activate("v1")
    assert live() == {"v1"}
    bench.activate("v2")
    assert live() == {"v2"}
    page = get("index.html")
    assert page["Body"].read() == get("v2/index.html")["Body"].read()
    assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "no-cache")
    tags = client.get_object_tagging(Bucket="shop-prod", Key="index.html")["TagSet"]
    assert tags == [{"Key": "team", "Value": "a b"}]
    assert bench.plan("v2").unchanged
    for version in ("v1", "v2"):
        assert bench.activate().item.ref.version == version
        assert live() == {version}


@on_both
def test_all_files_go_to_the_root(
    server: str, live_bench: Any, make_client: Any, seed_server: Any
) -> None:
    client = make_client(server)
    seed_server(client, "v1", "v2")
    bench = live_bench(server, "root", copy="all")
    bench.activate("v1")
    with pytest.raises(Conflict, match=r"a hash in the name and another content: 'assets/app\.3f"):
        bench.activate("v2")


def test_pages_come_after_all_else_and_index_html_last(
    stub: Any, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    bench = live_bench(stub.url, "root", copy="all", distribution="E1A2B3C4D5")
    plan = bench.plan("v1")
    assert [(step.action, step.subject) for step in plan.steps] == [
        ("copy", "assets/app.3f2a9c1b.js"),
        ("copy", "assets/app.css"),
        ("copy", "sw.js"),
        ("copy", "about.html"),
        ("copy", "docs/index.html"),
        ("copy", "index.html"),
        ("write", STATE),
        *(
            ("invalidate", path)
            for path in ("/", "/about.html", "/docs/", "/docs/index.html", "/index.html", "/sw.js")
        ),
    ]
    assert plan.bytes_to_copy == sum(step.bytes for step in plan.steps)
    assert stub.writes() == []
    bench = live_bench(stub.url, "root", copy="all")
    context = Context()
    bench.activate("v1", context=context)
    steps = [step.subject for step in plan.steps[:6]]
    assert copied(stub) == [STATE, *steps, STATE]
    assert context.progress.snapshot().bytes_copied == plan.bytes_to_copy


def test_every_copy_is_guarded(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    before = {key: stub.buckets["shop-prod"][key].etag for key in ENTRIES}
    assert all(a.headers["if-none-match"] == "*" for a in stub.asked if a.copies)
    stub.asked.clear()
    bench.activate("v2")
    copies = [asked for asked in stub.asked if asked.copies]
    assert [asked.key for asked in copies] == list(ENTRIES)
    for asked in copies:
        source = stub.buckets["shop-prod"][f"v2/{asked.key}"]
        assert asked.headers["if-match"] == f'"{before[asked.key]}"'
        assert asked.headers["x-amz-copy-source-if-match"] == f'"{source.etag}"'


def test_a_page_that_is_the_same_goes_for_its_headers(
    stub: Any, live_bench: Any, seed: Any
) -> None:
    seed("v1", "v2")
    for version, control in (("v1", "no-cache"), ("v2", "no-store")):
        headers = {"cache-control": control}
        stub.put("shop-prod", f"{version}/about.html", b"the same", **headers)
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    bench.activate("v2")
    assert stub.buckets["shop-prod"]["about.html"].headers == {"cache-control": "no-store"}


def test_nothing_is_deleted_and_nothing_copied_twice(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1", **{"old.html": "old", "assets/logo.svg": "logo"})
    seed("v2", **{"assets/logo.svg": "logo"})
    for version in ("v1", "v2"):
        stub.put("shop-prod", f"{version}/assets/app.3f2a9c1b.js", b"the same")
    bench = live_bench(stub.url, "root", copy="all")
    bench.activate("v1")
    stub.asked.clear()
    context = Context()
    bench.activate("v2", context=context)
    assert copied(stub) == [STATE, "assets/app.css", *ENTRIES, STATE]
    assert "the bucket's root keeps 1 file of v1" in context.progress.notes[0]
    assert "'old.html'" in context.progress.notes[0]
    assert at_root(stub)["old.html"] == b"old"


def refuse_copy(stub: Any, fail: Any, key: str) -> None:
    stub.faults.append(
        lambda asked: fail(403, "AccessDenied") if asked.copies and asked.key == key else None
    )


def crash(n: int, *, late: bool, fail: Callable[..., Any]) -> Callable[..., Any]:
    """Return a fault at the n-th write: it never arrives, or its answer does not."""
    left = [n]

    def fault(stub: Any, asked: Any) -> Any:
        if asked.method != "PUT":
            return None
        left[0] -= 1
        if left[0] > 0:
            return None
        if late and left[0] == 0:
            stub._answer(asked)
        return fail(403, "AccessDenied", "the power is out")

    return fault


@pytest.mark.parametrize("files", ["entry-points", "all"])
@pytest.mark.parametrize("late", [False, True])
def test_a_crash_at_any_write_shows_one_of_both_and_the_same_command_completes(
    stub: Any, live_bench: Any, seed: Any, fail: Any, files: str, late: bool
) -> None:
    for version in ("v0", "v1", "v2"):
        asset = f"assets/{version}.0a1b2c3d.js"
        url = asset if files == "all" else f"/{version}/{asset}"
        page = f'<script src="{url}"></script>{{v}}'
        seed(version, **{asset: "{v}", "index.html": page, "assets/app.3f2a9c1b.js": "same"})
    bench = live_bench(stub.url, "root", copy=files)
    bench.activate("v0")
    bench.activate("v1")
    stub.asked.clear()
    bench.activate("v2")
    writes = len(stub.writes())
    assert writes == (8 if files == "all" else 6)
    for n in range(1, writes + 1):
        bench.activate("v0")
        bench.activate("v1")
        stub.buckets["shop-prod"].pop("assets/v2.0a1b2c3d.js", None)
        old = at_root(stub)["index.html"]
        fault = crash(n, late=late, fail=fail)
        stub.faults.append(lambda asked, fault=fault: fault(stub, asked))
        with pytest.raises(EndpointDenied):
            bench.activate("v2")
        stub.faults.clear()
        new = stub.buckets["shop-prod"]["v2/index.html"].body
        shown = at_root(stub)
        if shown["index.html"] == new:
            assert all(shown[key] == stub.buckets["shop-prod"][f"v2/{key}"].body for key in ENTRIES)
            assert "assets/v2.0a1b2c3d.js" in shown or files == "entry-points"
        else:
            assert shown["index.html"] == old
        begun = n > 1 or late
        ended = n == writes and late
        if not ended:
            assert (state(stub).get("pending") or {}).get("version") == ("v2" if begun else None)
            assert state(stub)["version"] == "v1"
            plan = bench.plan("v2")
            assert not plan.unchanged
            # With the crash behind the last copy all of v2 is there already.
            all_there = n >= writes or (late and n == writes - 1)
            assert (plan.current == plan.digest) is all_there
            assert bench.plan().item.ref.version == ("v1" if begun else "v0")
        bench.activate("v2")
        assert state(stub)["version"] == "v2"
        assert state(stub)["previous"]["version"] == "v1"
        assert "pending" not in state(stub)
        assert at_root(stub)["index.html"] == new


def test_back_from_an_activation_that_crashed(
    stub: Any, live_bench: Any, seed: Any, fail: Any
) -> None:
    seed("v0", "v1", "v2")
    bench = live_bench(stub.url, "root")
    bench.activate("v0")
    bench.activate("v1")
    refuse_copy(stub, fail, "docs/index.html")
    with pytest.raises(EndpointDenied):
        bench.activate("v2")
    stub.faults.clear()
    assert b"v2" in at_root(stub)["about.html"]
    context = Context()
    bench.promoter.plan_activation(bench.item(), context)
    assert "an activation of v2 in prod began and did not end" in context.progress.notes[0]
    assert bench.activate().item.ref.version == "v1"
    assert b"v1" in at_root(stub)["about.html"]
    assert bench.activate().item.ref.version == "v0", "as if v2 had never been"


def test_another_version_after_one_that_crashed(
    stub: Any, live_bench: Any, seed: Any, fail: Any
) -> None:
    seed("v1", "v2", "v3")
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    refuse_copy(stub, fail, "index.html")
    with pytest.raises(EndpointDenied):
        bench.activate("v2")
    stub.faults.clear()
    bench.activate("v3")
    assert all(b"v3" in at_root(stub)[key] for key in ENTRIES)
    assert bench.activate().item.ref.version == "v1"


def test_the_same_plan_again_after_a_crash(
    stub: Any, live_bench: Any, seed: Any, fail: Any
) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    plan = bench.plan("v2")
    refuse_copy(stub, fail, "index.html")
    with pytest.raises(EndpointDenied):
        bench.promoter.activate(plan, Context())
    stub.faults.clear()
    for _ in range(2):
        bench.promoter.activate(plan, Context())
        assert bench.promoter.verify_activation(plan, Context()) == plan.digest
    assert state(stub)["previous"]["version"] == "v1"


@pytest.mark.parametrize("guarded", [True, False])
def test_two_servers_at_once(stub: Any, live_bench: Any, seed: Any, guarded: bool) -> None:
    """Another server begins between two waves: the first one gives up before index.html.

    Also where S3 does not heed the conditions of copies.
    """
    seed("v1", "v2", "v3")
    bench, other = live_bench(stub.url, "root"), live_bench(stub.url, "root")
    bench.activate("v1")

    def meanwhile(asked: Any) -> None:
        if asked.copies and asked.key == "about.html":
            stub.faults.clear()
            other.activate("v3")
            if not guarded:
                del asked.headers["if-match"]

    stub.faults.append(meanwhile)
    with pytest.raises(Conflict):
        bench.activate("v2")
    assert state(stub)["version"] == "v3"
    assert b"v3" in at_root(stub)["index.html"]


def test_two_servers_that_do_the_same(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1", "v2")
    bench, other = live_bench(stub.url, "root"), live_bench(stub.url, "root")
    bench.activate("v1")

    def meanwhile(asked: Any) -> None:
        if asked.copies and asked.key == "index.html":
            stub.faults.clear()
            other.activate("v2")

    stub.faults.append(meanwhile)
    bench.activate("v2")
    assert state(stub)["version"] == "v2"
    assert state(stub)["previous"]["version"] == "v1"


@pytest.mark.parametrize("key", ["about.html", "index.html"])
def test_a_page_that_somebody_wrote_since_the_plan(
    stub: Any, live_bench: Any, seed: Any, key: str
) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    plan = bench.plan("v2")
    stub.put("shop-prod", key, b"by hand")
    with pytest.raises(Conflict, match="s3://shop-prod/ changed"):
        bench.promoter.activate(plan, Context())
    assert at_root(stub)[key] == b"by hand"


def test_what_was_written_over_by_hand_is_put_right(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    bench.activate("v2")
    stub.put("shop-prod", "about.html", b"by hand")
    plan = bench.plan("v2")
    assert plan.current == plan.digest
    assert not plan.complete
    with pytest.raises(VerificationFailed, match=r"1 file of v2 as they should be: 'about\.html'"):
        bench.promoter.verify_activation(plan, Context())
    bench.activate("v2")
    assert b"about v2" in at_root(stub)["about.html"]
    assert bench.plan().item.ref.version == "v1"


def test_an_answer_that_was_lost_is_no_conflict(
    stub: Any, live_bench: Any, seed: Any, reply: Any
) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    seen = set()

    def lost(asked: Any) -> Any:
        if asked.method != "PUT" or asked.key in seen:
            return None
        seen.add(asked.key)
        stub._answer(asked)
        return reply(500)

    stub.faults.append(lost)
    bench.activate("v2")
    assert {STATE, *ENTRIES} <= seen
    assert state(stub)["version"] == "v2"


@pytest.mark.parametrize("odd", ["kms", "odd_tags"])
def test_entity_tags_that_say_nothing(stub: Any, live_bench: Any, seed: Any, odd: str) -> None:
    setattr(stub, odd, True)
    seed("v1", "v2")
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    assert bench.plan("v1").unchanged
    bench.activate("v2")
    bench.activate()
    assert all(b"v1" in at_root(stub)[key] for key in ENTRIES)


@pytest.mark.parametrize("key", [STATE, "v1/index.html", "v2/x.html"])
def test_a_build_must_not_write_over_what_is_not_its_own(
    stub: Any, live_bench: Any, seed: Any, key: str
) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "root", copy="all")
    stub.put("shop-prod", f"v2/{key}", b"x")
    del stub.buckets["shop-prod"]["v2/assets/app.3f2a9c1b.js"]
    del stub.buckets["shop-prod"]["v2/index.html"]
    bench.activate("v1")
    with pytest.raises(VerificationFailed, match="would write over what is not its own"):
        bench.plan("v2")


def test_the_bucket_is_never_listed_as_a_whole(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "root")
    bench.activate("v1")
    bench.activate("v2")
    prefixes = {asked.query["prefix"] for asked in stub.asked if not asked.key}
    assert prefixes == {"v1/", "v2/"}
