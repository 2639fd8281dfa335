"""What goes wrong on the wire, at each end, and what becomes of the promotion."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from imgctl_backends.image.wire.retry import retry_after
from imgctl_core.errors import (
    Conflict,
    EndpointDenied,
    EndpointFailed,
    EndpointUnreachable,
)
from imgctl_core.testing.httpd import Fault, Response
from imgctl_core.testing.images import make_image, make_layer, noise, sample_image
from imgctl_core.testing.peers import free_port
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

pytestmark = pytest.mark.usefixtures("no_waiting")

BLOB, SESSION, MANIFEST = r"/blobs/sha256", r"/blobs/uploads/.", r"/manifests/"

PASSING = {
    "source HEAD reset": ("dev", "HEAD", MANIFEST, Fault(drop=True)),
    "source manifest reset": ("dev", "GET", MANIFEST, Fault(drop=True)),
    "source manifest cut": ("dev", "GET", MANIFEST, Fault(cut_after=10)),
    "source manifest short": ("dev", "GET", MANIFEST, Fault(short_after=10)),
    "source manifest 503": ("dev", "GET", MANIFEST, Fault(answer=Response(503))),
    "source blob reset": ("dev", "GET", BLOB, Fault(drop=True)),
    "source blob cut": ("dev", "GET", BLOB, Fault(cut_after=100)),
    "source blob short": ("dev", "GET", BLOB, Fault(short_after=100)),
    "source blob truncated": ("dev", "GET", BLOB, Fault(truncate=100)),
    "source blob corrupt": ("dev", "GET", BLOB, Fault(corrupt=True)),
    "source blob 429": ("dev", "GET", BLOB, Fault(answer=Response(429, {"Retry-After": "0"}))),
    "source blob 500": ("dev", "GET", BLOB, Fault(answer=Response(500))),
    "destination HEAD reset": ("prod", "HEAD", BLOB, Fault(drop=True)),
    "destination session reset": ("prod", "POST", "uploads", Fault(drop=True)),
    "destination session lost": ("prod", "POST", "uploads", Fault(lose=True)),
    "destination session 502": ("prod", "POST", "uploads", Fault(answer=Response(502))),
    "destination upload reset": ("prod", "PUT", SESSION, Fault(drop=True)),
    "destination upload broken": ("prod", "PUT", SESSION, Fault(cut_request_after=100)),
    "destination upload answer lost": ("prod", "PUT", SESSION, Fault(lose=True)),
    "destination upload 429": (
        "prod",
        "PUT",
        SESSION,
        Fault(answer=Response(429, {"Retry-After": "0"})),
    ),
    "destination upload 408": ("prod", "PUT", SESSION, Fault(answer=Response(408))),
    "destination upload 500": ("prod", "PUT", SESSION, Fault(answer=Response(500))),
    "destination session gone": ("prod", "PUT", SESSION, Fault(answer=Response(404))),
    "destination session stale": ("prod", "PUT", SESSION, Fault(answer=Response(416))),
    "destination manifest reset": ("prod", "PUT", MANIFEST, Fault(drop=True)),
    "destination manifest answer lost": ("prod", "PUT", MANIFEST, Fault(lose=True)),
    "destination manifest 429": ("prod", "PUT", MANIFEST, Fault(answer=Response(429))),
    "destination manifest 504": ("prod", "PUT", MANIFEST, Fault(answer=Response(504))),
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("case", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_costs_time_and_nothing_else(
    bench: Bench, dev: Registry, prod: Registry, case: tuple[str, str, str, Fault], times: int
) -> None:
    end, method, pattern, fault = case
    image = dev.put_image("app", "v1", make_image([make_layer({"a": noise("a", 400_000)})]))
    injected = {"dev": dev, "prod": prod}[end].inject(
        fault, method=method, pattern=pattern, times=times
    )
    done = bench.promote("app:v1")
    assert injected.hits == times
    assert done.digest == image.digest
    assert prod.tags("app") == {"v1": image.digest}
    assert set(image.all_blobs()) == prod.blobs("app")
    size = sum(map(len, image.all_blobs().values()))
    counted = done.progress
    assert counted.bytes_copied + counted.bytes_present == counted.bytes_total == size
    assert counted.bytes_copied == size


LASTING = {
    "source blob corrupt": ("dev", "GET", BLOB, Fault(corrupt=True), EndpointFailed),
    "source blob truncated": ("dev", "GET", BLOB, Fault(truncate=10), EndpointFailed),
    "source blob cut": ("dev", "GET", BLOB, Fault(cut_after=10), EndpointUnreachable),
    "source manifest corrupt": ("dev", "GET", MANIFEST, Fault(corrupt=True), EndpointFailed),
    "source 403": ("dev", "HEAD", MANIFEST, Fault(answer=Response(403)), EndpointDenied),
    "source 500": ("dev", "HEAD", MANIFEST, Fault(answer=Response(500)), EndpointFailed),
    "source html": (
        "dev",
        "GET",
        BLOB,
        Fault(answer=Response(418, {}, b"<html>\x1b[31m")),
        EndpointFailed,
    ),
    "destination 401": ("prod", "POST", "uploads", Fault(answer=Response(401)), EndpointDenied),
    "destination reset": ("prod", "POST", "uploads", Fault(drop=True), EndpointUnreachable),
    "destination upload 400": (
        "prod",
        "PUT",
        SESSION,
        Fault(answer=Response(400)),
        EndpointFailed,
    ),
    "destination upload 429": (
        "prod",
        "PUT",
        SESSION,
        Fault(answer=Response(429, {"Retry-After": "0"})),
        EndpointFailed,
    ),
    "destination manifest 400": (
        "prod",
        "PUT",
        MANIFEST,
        Fault(answer=Response(400)),
        EndpointFailed,
    ),
    "destination has no repository": (
        "prod",
        "POST",
        "uploads",
        Fault(answer=Response(404)),
        EndpointFailed,
    ),
    "session without location": (
        "prod",
        "POST",
        "uploads",
        Fault(answer=Response(202, {"Location": "gopher://x/"})),
        EndpointFailed,
    ),
}


@pytest.mark.parametrize("case", LASTING.values(), ids=LASTING.keys())
def test_a_lasting_fault_is_one_clear_error_and_no_tag(
    bench: Bench,
    dev: Registry,
    prod: Registry,
    case: tuple[str, str, str, Fault, type[Exception]],
) -> None:
    end, method, pattern, fault, expected = case
    dev.put_image("app", "v1", make_image([make_layer({"a": noise("a", 100_000)})]))
    {"dev": dev, "prod": prod}[end].inject(fault, method=method, pattern=pattern, times=None)
    with pytest.raises(expected) as caught:
        bench.promote("app:v1")
    assert "127.0.0.1" in str(caught.value) or "sha256:" in str(caught.value)
    assert str(caught.value).isprintable()
    assert prod.tags("app") == {}
    assert prod.open_uploads == 0


def test_attempts_are_bounded(make_bench: MakeBench, dev: Registry, prod: Registry) -> None:
    dev.put_image("app", "v1")
    injected = dev.inject(Fault(answer=Response(503)), method="HEAD", times=None)
    with pytest.raises(EndpointFailed, match="503"):
        make_bench(dev=dev.url, prod=prod.url, settings={"attempts": 4}).plan("app:v1")
    assert injected.hits == 4


def test_a_longer_wait_than_the_budget_is_not_waited_for(
    make_bench: MakeBench, dev: Registry, prod: Registry
) -> None:
    later = Fault(answer=Response(429, {"Retry-After": "3600"}))
    injected = dev.inject(later, method="HEAD", times=None)
    with pytest.raises(EndpointFailed, match="429"):
        make_bench(dev=dev.url, prod=prod.url).plan("app:v1")
    assert injected.hits == 1


def test_retry_after_is_waited_for(
    bench: Bench, dev: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgctl_backends.image.wire.flight import Flight

    waited: list[float] = []
    monkeypatch.setattr(Flight, "pause", lambda self, seconds: waited.append(seconds))
    dev.put_image("app", "v1")
    dev.inject(Fault(answer=Response(429, {"Retry-After": "7"})), method="HEAD")
    bench.plan("app:v1")
    assert waited == [7.0]


def test_retry_after_has_two_forms() -> None:
    assert retry_after("12") == 12.0
    moment = datetime.now(UTC) + timedelta(seconds=90)
    assert 85 < (retry_after(format_datetime(moment, usegmt=True)) or 0) <= 90
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("-1") is retry_after("soon") is retry_after("1" * 400) is None
    assert retry_after("²") is None
    assert retry_after(None) is None


def test_a_registry_that_takes_no_monolith_gets_patches(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1")

    def refuse(request: object) -> Fault | None:
        length = int(getattr(request, "headers").get("Content-Length", "0"))  # noqa: B009
        whole = getattr(request, "method") == "PUT" and length > 0  # noqa: B009
        blob = "/blobs/uploads/" in getattr(request, "target")  # noqa: B009
        return Fault(answer=Response(405)) if whole and blob else None

    prod.faults.append(refuse)
    assert bench.promote("app:v1").digest == image.digest
    assert prod.count("PATCH") == len(image.all_blobs())
    assert set(image.all_blobs()) == prod.blobs("app")


def test_a_validator_that_lags_is_waited_for(bench: Bench, dev: Registry, prod: Registry) -> None:
    body = b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "not yet"}]}'
    lag = prod.inject(Fault(answer=Response(400, {}, body)), method="PUT", pattern=MANIFEST)
    image = dev.put_image("app", "v1")
    assert bench.promote("app:v1").digest == image.digest
    assert lag.hits == 1


def test_a_blob_that_vanished_after_the_plan_is_brought_again(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    from imgctl_core.context import Context

    image = dev.put_image("app", "v1")
    for blob in image.all_blobs().values():
        prod.put_blob("app", blob)
    plan = bench.plan("app:v1")
    assert plan.bytes_to_copy == 0
    for digest in image.all_blobs():
        with prod._state.lock:
            prod._state.forget_blob("app", digest)
    bench.promoter.stage(plan, Context())
    bench.promoter.publish(plan, Context())
    assert set(image.all_blobs()) == prod.blobs("app")
    assert prod.tags("app") == {"v1": image.digest}


def test_a_registry_that_keeps_missing_a_blob_is_an_error(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    body = b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "never"}]}'
    prod.inject(Fault(answer=Response(404, {}, body)), method="PUT", pattern=MANIFEST, times=None)
    dev.put_image("app", "v1")
    with pytest.raises(EndpointFailed, match="never"):
        bench.promote("app:v1")


IMMUTABLE = Response(
    400,
    {},
    b'{"errors": [{"code": "TAG_INVALID", "message": "The image tag already exists and '
    b'cannot be overwritten because the tag is immutable."}]}',
)


def test_an_immutable_tag_with_our_digest_is_success(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1")
    # The first answer is lost, so the second attempt meets its own tag.
    prod.inject(Fault(lose=True), method="PUT", pattern="/manifests/v1")
    prod.inject(Fault(answer=IMMUTABLE), method="PUT", pattern="/manifests/v1")
    assert bench.promote("app:v1").digest == image.digest


def test_an_immutable_tag_with_another_digest_is_a_conflict(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    ours = dev.put_image("app", "v1", sample_image("ours"))
    theirs = prod.put_image("app", "v1", sample_image("theirs"))
    prod.inject(Fault(answer=IMMUTABLE), method="PUT", pattern="/manifests/v1", times=None)
    with pytest.raises(Conflict) as caught:
        bench.promote("app:v1", replace=True)
    assert ours.digest in caught.value.message
    assert theirs.digest in caught.value.message


def test_nobody_at_the_address(make_bench: MakeBench, dev: Registry) -> None:
    bench = make_bench(dev=f"http://127.0.0.1:{free_port()}", prod=dev.url)
    start = time.monotonic()
    with pytest.raises(EndpointUnreachable, match="refused"):
        bench.plan("app:v1")
    assert time.monotonic() - start < 5


def test_a_stalled_registry_is_given_up(
    make_bench: MakeBench, dev: Registry, prod: Registry
) -> None:
    import threading

    release = threading.Event()
    dev.put_image("app", "v1")
    dev.inject(Fault(hold=release), method="HEAD", times=None)
    settings = {"stall_seconds": 0.2, "attempts": 2}
    try:
        with pytest.raises(EndpointUnreachable, match=r"stood still for 0\.2 s"):
            make_bench(dev=dev.url, prod=prod.url, settings=settings).plan("app:v1")
    finally:
        release.set()


def test_a_closed_idle_connection_is_no_failure(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    dev.put_image("app", "v1")
    bench.plan("app:v1")
    dev.close_connections()
    prod.close_connections()
    assert bench.promote("app:v1").progress.bytes_copied > 0


MakeRegistry = Callable[..., Registry]


def test_other_blobs_stop_when_one_fails(
    make_bench: MakeBench, dev: Registry, prod: Registry
) -> None:
    layers = [make_layer({"a": noise(str(n), 50_000 + n)}) for n in range(12)]
    dev.put_image("app", "v1", make_image(layers))
    dev.inject(Fault(answer=Response(403)), method="GET", pattern=BLOB, times=1)
    bench = make_bench(dev=dev.url, prod=prod.url, settings={"jobs": 1})
    with pytest.raises(EndpointDenied):
        bench.promote("app:v1")
    assert prod.blobs("app") == frozenset()
