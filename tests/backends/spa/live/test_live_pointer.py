"""Going live by an object that names the version."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from imgctl_backends.spa.live.objects import ObjectStore
from imgctl_backends.spa.live.record import Record, Version
from imgctl_backends.spa.references import Place
from imgctl_backends.spa.wire.bucket import Buckets
from imgctl_core import CancelToken, Context
from imgctl_core.errors import (
    ArtifactNotFound,
    Cancelled,
    Conflict,
    EndpointDenied,
    EndpointFailed,
    VerificationFailed,
)

POINTER = "current.json"


on_both = pytest.mark.parametrize("server", ["versitygw", "moto"], indirect=True)


@on_both
def test_versions_go_live_and_back(
    server: str, live_bench: Any, make_client: Any, seed_server: Any
) -> None:
    client = make_client(server)
    seed_server(client, "v1", "v2")
    bench = live_bench(server, "pointer")

    def pointer() -> Any:
        return json.loads(client.get_object(Bucket="shop-prod", Key=POINTER)["Body"].read())

    one = bench.activate("v1")
    assert one.current is None
    head = client.head_object(Bucket="shop-prod", Key=POINTER)
    assert (head["ContentType"], head["CacheControl"]) == ("application/json", "no-cache")
    two = bench.activate("v2")
    assert two.current == one.digest != two.digest
    assert pointer()["version"] == "v2"
    assert pointer()["prefix"] == "v2/"
    assert pointer()["digest"] == two.digest
    assert pointer()["previous"] == {"version": "v1", "prefix": "v1/", "digest": one.digest}
    assert bench.plan("v2").unchanged
    for version in ("v1", "v2", "v1"):
        plan = bench.activate()
        assert (plan.item.ref.version, pointer()["version"]) == (version, version)


@on_both
def test_a_write_that_is_too_late_is_refused_by_the_server(
    server: str, make_client: Any, make_bench: Any, hasty: Any
) -> None:
    client = make_client(server)
    client.create_bucket(Bucket="shop-prod")
    endpoint = make_bench(server).promoter.endpoints["prod"]
    buckets = Buckets()
    bucket = buckets.open(Place("source", "prod", "shop-prod", ""), endpoint)
    store, context = ObjectStore(bucket, POINTER, hasty), Context()
    one, two = (Record().done(Version(f"v{n}", f"sha256:{n * 64}")) for n in "12")
    nothing = store.read(context)
    seen = store.write(one, nothing, context)
    with pytest.raises(Conflict, match=r"s3://shop-prod/current\.json changed"):
        store.write(two, nothing, context)
    assert store.read(context) == seen
    store.write(two, seen, context)
    with pytest.raises(Conflict):
        store.write(one, seen, context)
    client.delete_object(Bucket="shop-prod", Key=POINTER)
    with pytest.raises(Conflict):
        store.write(one, seen, context)
    buckets.close()


def test_the_plan_says_what_is_written(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1")
    plan = live_bench(stub.url, "pointer", distribution="E1A2B3C4D5").plan("v1")
    assert [(step.action, step.subject) for step in plan.steps] == [
        ("write", "s3://shop-prod/current.json: v1"),
        ("invalidate", "/current.json"),
    ]
    assert stub.writes() == []


def test_what_was_made_live_since_the_plan_is_a_conflict(
    stub: Any, live_bench: Any, seed: Any
) -> None:
    seed("v1", "v2", "v3")
    bench, other = live_bench(stub.url, "pointer"), live_bench(stub.url, "pointer")
    bench.activate("v1")
    plan = bench.plan("v2")
    other.activate("v3")
    other.activate("v1")  # what the plan saw, and yet not the same
    with pytest.raises(Conflict, match="somebody else made something live in prod") as caught:
        bench.promoter.activate(plan, Context())
    assert caught.value.digest == plan.digest
    assert caught.value.current == plan.current


def pointer_fault(stub: Any, *answers: Any) -> None:
    """Answer the first writes of the pointer; a callable is asked what to answer."""
    left = list(answers)

    def fault(asked: Any) -> Any:
        if asked.method != "PUT" or asked.key != POINTER or not left:
            return None
        answer = left.pop(0)
        return answer(asked) if callable(answer) else answer

    stub.faults.append(fault)


def live_version(stub: Any) -> Any:
    found = stub.buckets["shop-prod"].get(POINTER)
    return json.loads(found.body)["version"] if found else None


def test_a_write_in_between_is_a_conflict(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1", "v2")
    other = live_bench(stub.url, "pointer")
    bench = live_bench(stub.url, "pointer")

    def somebody(asked: Any) -> None:
        other.activate("v2")

    pointer_fault(stub, somebody)
    with pytest.raises(Conflict):
        bench.activate("v1")
    assert live_version(stub) == "v2"


def test_a_server_that_knows_no_conditions_is_looked_at_once_more(
    stub: Any, live_bench: Any, seed: Any, fail: Any
) -> None:
    seed("v1")
    bench = live_bench(stub.url, "pointer")
    pointer_fault(stub, fail(501, "NotImplemented"))
    bench.activate("v1")
    assert live_version(stub) == "v1"
    last = stub.writes()[-1]
    assert "if-match" not in last.headers
    assert "if-none-match" not in last.headers


def test_without_conditions_what_changed_is_a_conflict(
    stub: Any, live_bench: Any, seed: Any, fail: Any
) -> None:
    seed("v1", "v2", "v3")
    bench, other = live_bench(stub.url, "pointer"), live_bench(stub.url, "pointer")
    bench.activate("v1")

    def meanwhile(asked: Any) -> Any:
        other.activate("v3")
        return fail(501, "NotImplemented")

    pointer_fault(stub, meanwhile)
    with pytest.raises(Conflict):
        bench.activate("v2")
    assert live_version(stub) == "v3"


def test_a_conflict_of_writes_is_tried_again(
    stub: Any, live_bench: Any, seed: Any, fail: Any
) -> None:
    seed("v1")
    pointer_fault(stub, *[fail(409, "ConditionalRequestConflict")] * 3)
    live_bench(stub.url, "pointer").activate("v1")
    assert live_version(stub) == "v1"


def test_a_conflict_of_writes_does_not_last_for_ever(
    stub: Any, live_bench: Any, seed: Any, fail: Any, hasty: Any
) -> None:
    seed("v1")
    pointer_fault(stub, *[fail(409, "ConditionalRequestConflict")] * 100)
    with pytest.raises(EndpointFailed, match="ConditionalRequestConflict"):
        live_bench(stub.url, "pointer").activate("v1")
    assert len(stub.writes()) == hasty.attempts


def test_an_answer_that_was_lost_is_no_conflict(
    stub: Any, live_bench: Any, seed: Any, reply: Any
) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "pointer")
    bench.activate("v1")

    def lost(asked: Any) -> Any:
        assert stub._answer(asked).status == 200
        return reply(reset=True)

    pointer_fault(stub, lost)
    bench.activate("v2")
    assert live_version(stub) == "v2"


@pytest.mark.parametrize("body", [b"v1", b'{"version": "v1"}', b" " * 100_000])
def test_somebody_elses_object_is_left_alone(
    stub: Any, live_bench: Any, seed: Any, body: bytes
) -> None:
    seed("v1")
    stub.put("shop-prod", POINTER, body)
    with pytest.raises(EndpointFailed, match=r"current\.json is in the way") as caught:
        live_bench(stub.url, "pointer").activate("v1")
    assert "name another object" in caught.value.fix
    assert stub.buckets["shop-prod"][POINTER].body == body


def test_what_is_not_allowed_is_named(stub: Any, live_bench: Any, seed: Any, fail: Any) -> None:
    seed("v1")
    pointer_fault(stub, fail(403, "AccessDenied", "Access Denied"))
    with pytest.raises(EndpointDenied, match=r"s3:PutObject on current\.json"):
        live_bench(stub.url, "pointer").activate("v1")


def test_versions_that_are_not_whole(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1")
    bench = live_bench(stub.url, "pointer")
    with pytest.raises(ArtifactNotFound, match="s3://shop-prod/v9/ holds no file") as caught:
        bench.plan("v9")
    assert caught.value.fix == "promote it to prod first"
    stub.put("shop-prod", "v1/about.html", b"")
    with pytest.raises(VerificationFailed, match=r"empty entry points: 'about\.html'"):
        bench.plan("v1")
    stub.put("shop-prod", "v2/app.js", b"app")
    with pytest.raises(VerificationFailed, match="no entry point"):
        bench.plan("v2")
    assert stub.writes() == []


def test_the_way_back_is_gone(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "pointer")
    with pytest.raises(ArtifactNotFound, match="no version of spa:shop was live in prod, says"):
        bench.plan()
    bench.activate("v1")
    with pytest.raises(ArtifactNotFound, match="live in prod before v1") as caught:
        bench.plan()
    assert caught.value.fix == "name the version: spa:shop:<version>"
    bench.activate("v2")
    held = stub.buckets["shop-prod"]
    for key in [key for key in held if key.startswith("v1/")]:
        del held[key]
    with pytest.raises(ArtifactNotFound, match="v1/ holds no file"):
        bench.plan()


def test_two_versions_of_one_content_are_two(stub: Any, live_bench: Any) -> None:
    for version in ("v1", "v2"):
        stub.put("shop-prod", f"{version}/index.html", b"the same")
    bench = live_bench(stub.url, "pointer")
    bench.activate("v1")
    plan = bench.plan("v2")
    assert plan.current == plan.digest
    assert not plan.unchanged
    bench.activate("v2")
    assert live_version(stub) == "v2"


def test_a_version_that_changed_is_made_live_anew(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1", "v2")
    bench = live_bench(stub.url, "pointer")
    bench.activate("v1")
    first = bench.activate("v2")
    stub.put("shop-prod", "v2/index.html", b"replaced")
    plan = bench.activate("v2")
    assert plan.current == first.digest != plan.digest
    assert bench.plan().item.ref.version == "v1", "the way back is the same"


def test_a_cancel_does_not_wait_for_a_server_that_hangs(
    stub: Any, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    token, over = CancelToken(), threading.Event()

    def hang(asked: Any) -> None:
        if asked.key == POINTER:
            token.cancel()
            over.wait(30)

    stub.faults.append(hang)
    try:
        with pytest.raises(Cancelled):
            live_bench(stub.url, "pointer").activate("v1", context=Context(cancel=token))
        assert not over.is_set()
    finally:
        over.set()
