"""How blobs travel, by what the registries were asked: once each, and never twice over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from imgctl_core.context import CancelToken, Context, ProgressCounter
from imgctl_core.errors import Cancelled, EndpointDenied
from imgctl_core.models import ItemProgress, Plan
from imgctl_core.testing.fixtures import MakeDockerRegistry, MakeFaultProxy
from imgctl_core.testing.httpd import Fault, Request, Response
from imgctl_core.testing.images import SampleManifest, digest_of, make_image, make_layer, noise
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

pytestmark = pytest.mark.usefixtures("no_waiting")

SESSION = r"/blobs/uploads/."
SHARED = make_layer({"shared": noise("shared", 600_000)})


@pytest.fixture
def family(dev: Registry) -> list[str]:
    """Return the refs of six images that share a layer and have one of their own."""
    refs = []
    for number in range(6):
        own = make_layer({"own": noise(f"own {number}", 20_000)})
        dev.put_image(f"app{number}", "v1", make_image([SHARED, own]))
        refs.append(f"app{number}:v1")
    return refs


def together(bench: Bench, refs: Sequence[str]) -> list[ItemProgress]:
    """Promote images as one promotion does: all plans, then all stages, then the tags."""
    contexts = [Context(progress=ProgressCounter(ref)) for ref in refs]
    with ThreadPoolExecutor(len(refs)) as threads:
        plans = list(
            threads.map(
                lambda a: bench.promoter.plan(bench.item(a[0]), a[1]),
                zip(refs, contexts, strict=True),
            )
        )
        for phase in (bench.promoter.stage, bench.promoter.publish):
            list(threads.map(lambda a, run=phase: run(*a), zip(plans, contexts, strict=True)))
    return [context.progress.snapshot() for context in contexts]


def test_a_layer_that_images_share_is_uploaded_once_and_mounted_elsewhere(
    bench: Bench, dev: Registry, prod: Registry, family: list[str]
) -> None:
    counted = together(bench, family)
    shared = digest_of(SHARED)
    assert prod.count("PUT", f"{SESSION}.*digest={shared}") == 1
    assert prod.count("POST", f"mount=.*{shared[7:]}") == 5
    assert dev.count("GET", f"/blobs/{shared}") == 1
    assert sum(one.bytes_mounted for one in counted) == 5 * len(SHARED)
    assert all(shared in prod.blobs(f"app{number}") for number in range(6))
    assert all(prod.tags(f"app{number}") for number in range(6))
    for one in counted:
        assert one.bytes_copied + one.bytes_mounted == one.bytes_total


def test_a_blob_costs_three_requests_at_the_destination_and_one_at_the_source(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1", make_image([SHARED]))
    bench.promote("app:v1")
    for digest in image.all_blobs():
        assert prod.count("HEAD", f"/blobs/{digest}") == 1
        assert prod.count("PUT", f"{SESSION}.*digest={digest}") == 1
        assert dev.count("", f"/blobs/{digest}") == 1
    assert prod.count("POST") == len(image.all_blobs())


def test_what_was_brought_a_moment_ago_is_mounted_by_later_promotions(
    bench: Bench, dev: Registry, prod: Registry, family: list[str]
) -> None:
    bench.promote(family[0])
    assert bench.promote(family[1]).progress.bytes_mounted == len(SHARED)
    assert prod.count("PUT", f"digest={digest_of(SHARED)}") == 1


def test_a_registry_that_mounts_nothing_is_not_asked_by_everyone(
    make_bench: MakeBench, make_registry: Callable[..., Registry], dev: Registry, family: list[str]
) -> None:
    prod = make_registry(mount=False)
    together(make_bench(dev=dev.url, prod=prod.url), family)
    # Five could; one asks, and at most those that came between question and answer.
    assert 1 <= prod.count("POST", "mount=") < 5
    assert prod.count("PUT", f"digest={digest_of(SHARED)}") == 6
    assert all(prod.tags(f"app{number}") for number in range(6))
    assert prod.open_uploads == 0


def test_a_mount_that_is_forbidden_becomes_an_upload(
    bench: Bench, prod: Registry, family: list[str]
) -> None:
    refused = prod.inject(Fault(answer=Response(403)), method="POST", pattern="mount=", times=None)
    together(bench, family)
    assert refused.hits >= 1
    assert prod.count("PUT", f"digest={digest_of(SHARED)}") == 6


def test_two_promotions_of_one_image_upload_it_once(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1", make_image([SHARED]))
    one, two = (stage_of(bench, "app:v1") for _ in range(2))
    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(bench.promoter.stage, *of) for of in (one, two)]
        for future in done:
            future.result()
    assert prod.count("PUT", SESSION) == len(image.all_blobs())


def stage_of(bench: Bench, ref: str, token: CancelToken | None = None) -> tuple[Plan, Context]:
    context = Context(progress=ProgressCounter(ref), cancel=token or CancelToken())
    return bench.promoter.plan(bench.item(ref), context), context


def test_a_follower_takes_over_from_a_leader_that_is_cancelled(
    bench: Bench, prod: Registry, family: list[str]
) -> None:
    token, release = CancelToken(), threading.Event()
    shared = f"digest={digest_of(SHARED)}"
    held = prod.inject(Fault(hold=release), method="PUT", pattern=shared)
    leader = stage_of(bench, family[0], token)
    follower = stage_of(bench, family[1])
    try:
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(bench.promoter.stage, *leader)
            assert held.struck.wait(20)
            second = threads.submit(bench.promoter.stage, *follower)
            token.cancel()
            with pytest.raises(Cancelled):
                first.result(20)
            second.result(20)
    finally:
        release.set()
    assert digest_of(SHARED) in prod.blobs("app1")


def test_a_leader_whose_source_refuses_spoils_nothing_for_the_others(
    bench: Bench, dev: Registry, prod: Registry, family: list[str]
) -> None:
    release = threading.Event()
    shared = f"/app0/blobs/{digest_of(SHARED)}"
    held = dev.inject(
        Fault(hold=release, answer=Response(403)), method="GET", pattern=shared, times=None
    )
    leader, follower = stage_of(bench, family[0]), stage_of(bench, family[1])
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(bench.promoter.stage, *leader)
        assert held.struck.wait(20)
        second = threads.submit(bench.promoter.stage, *follower)
        release.set()
        with pytest.raises(EndpointDenied):
            first.result(20)
        second.result(20)
    assert digest_of(SHARED) in prod.blobs("app1")


class Overlap:
    """Counts the blob uploads that are under way at one moment."""

    def __init__(self, registry: Registry) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0
        self.sizes: list[int] = []
        registry.faults.append(self._begins)
        registry.on_request = self._ended

    def _begins(self, request: Request) -> None:
        if request.method == "PUT" and "/blobs/uploads/" in request.target:
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
                self.sizes.append(int(request.headers.get("Content-Length")))

    def _ended(self, record: object) -> None:
        if getattr(record, "method") == "PUT" and "/uploads/" in getattr(record, "target"):  # noqa: B009
            with self._lock:
                self._now -= 1


@pytest.mark.parametrize(
    "settings", [{"jobs": 1}, {"jobs_per_host": 1}, {"memory_mib": 1, "chunk_bytes": 512 * 1024}]
)
def test_limits_hold_and_the_largest_blob_of_all_goes_first(
    make_bench: MakeBench, dev: Registry, prod: Registry, settings: dict[str, int]
) -> None:
    layers = [make_layer({"a": noise(str(n), 560_000 + n * 10_000)}) for n in range(6)]
    dev.put_image("one", "v1", make_image(layers[:3]))
    dev.put_image("two", "v1", make_image(layers[3:]))
    overlap = Overlap(prod)
    bench = make_bench(dev=dev.url, prod=prod.url, settings=settings)
    together(bench, ["one:v1", "two:v1"])
    large = [size for size in overlap.sizes if size > 500_000]
    # Which promotion comes first is luck; what waits then is ordered over both.
    assert large[3:] == sorted(large[3:], reverse=True)
    assert len(large) == 6
    if "memory_mib" not in settings:
        assert overlap.most == 1


BIG = 4_000_000


@pytest.fixture
def big(dev: Registry) -> SampleManifest:
    return dev.put_image("app", "v1", make_image([make_layer({"a": noise("big", BIG)})]))


def layer_of(image: SampleManifest) -> tuple[str, int]:
    digest, blob = max(image.all_blobs().items(), key=lambda pair: len(pair[1]))
    return f"/blobs/{digest}", len(blob)


@pytest.mark.parametrize(
    "fault", [{"cut_after": BIG // 2}, {"short_after": BIG // 2}, {"stall_after": BIG // 2}]
)
def test_a_broken_read_goes_on_where_it_was(
    make_bench: MakeBench, dev: Registry, prod: Registry, big: SampleManifest, fault: dict[str, int]
) -> None:
    path, size = layer_of(big)
    dev.inject(Fault(**fault), method="GET", pattern=path)  # type: ignore[arg-type]
    bench = make_bench(dev=dev.url, prod=prod.url, settings={"stall_seconds": 0.3})
    assert bench.promote("app:v1").digest == big.digest
    _, read = dev.traffic("GET", path)
    assert read <= 1.05 * size
    first, second = dev.matching("GET", path)
    assert "Range" not in first.headers
    assert second.headers.get("Range").startswith("bytes=")
    assert prod.count("PUT", SESSION) == 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Response(206, {"Content-Range": "bytes 0-3/4"}, b"abcd"),
        Response(416, {}),
    ],
    ids=["200", "another range", "416"],
)
def test_a_source_without_ranges_is_read_anew_into_the_same_upload(
    bench: Bench, dev: Registry, prod: Registry, big: SampleManifest, answer: Response | None
) -> None:
    path, _ = layer_of(big)
    whole = Response(200, {}, max(big.all_blobs().values(), key=len))

    def no_ranges(request: Request) -> Fault | None:
        ranged = request.headers.get("Range") and path in request.target
        return Fault(answer=answer or whole) if ranged else None

    dev.inject(Fault(cut_after=BIG // 2), method="GET", pattern=path)
    dev.faults.append(no_ranges)
    assert bench.promote("app:v1").digest == big.digest
    assert dev.count("GET", path) == 3
    assert prod.count("PUT", SESSION) == 2


def silent(registry: Registry) -> None:
    """Have a registry tell nothing of how far an upload came."""
    registry.inject(Fault(answer=Response(404)), method="GET", pattern=SESSION, times=None)


@pytest.mark.parametrize("size", [300_000, BIG], ids=["in memory", "on disk"])
@pytest.mark.parametrize("fault", [{"cut_request_after": 200_000}, {"answer": Response(500)}])
def test_a_broken_upload_costs_no_second_download(
    bench: Bench, dev: Registry, prod: Registry, size: int, fault: dict[str, object]
) -> None:
    image = dev.put_image("app", "v1", make_image([make_layer({"a": noise("x", size)})]))
    path, size = layer_of(image)
    silent(prod)
    digest = path.rpartition("/")[2]
    prod.inject(Fault(**fault), method="PUT", pattern=digest, times=2)  # type: ignore[arg-type]
    done = bench.promote("app:v1")
    assert done.digest == image.digest
    assert done.progress.bytes_copied == done.progress.bytes_total
    assert dev.count("GET", path) <= 2
    assert dev.traffic("GET", path)[1] <= 1.05 * size
    assert prod.count("PUT", f"digest={digest}") == 3
    assert prod.open_uploads == 0


def test_without_a_spool_a_large_blob_is_read_again(
    make_bench: MakeBench, dev: Registry, prod: Registry, big: SampleManifest
) -> None:
    path, size = layer_of(big)
    silent(prod)
    prod.inject(Fault(cut_request_after=BIG - 100_000), method="PUT", pattern=SESSION)
    bench = make_bench(dev=dev.url, prod=prod.url, settings={"spool_bytes": 0, "jobs": 1})
    assert bench.promote("app:v1").digest == big.digest
    assert dev.traffic("GET", path)[1] > 1.5 * size


def test_a_session_that_knows_how_far_it_came_goes_on(
    bench: Bench, dev: Registry, prod: Registry, big: SampleManifest
) -> None:
    path, size = layer_of(big)
    digest = path.rpartition("/")[2]
    prod.inject(Fault(cut_request_after=BIG // 2), method="PUT", pattern=digest)
    done = bench.promote("app:v1")
    assert done.digest == big.digest
    assert done.progress.bytes_copied == done.progress.bytes_total
    assert dev.count("GET", path) == 1
    (rest,) = prod.matching("PATCH")
    assert int(rest.headers.get("Content-Length")) == size - BIG // 2
    assert rest.headers.get("Content-Range") == f"{BIG // 2}-{size - 1}"
    assert prod.count("DELETE") == 0
    assert prod.open_uploads == 0


def test_a_restart_uploads_nothing_that_is_there(
    make_bench: MakeBench, dev: Registry, prod: Registry, family: list[str]
) -> None:
    make_bench(dev=dev.url, prod=prod.url).promoter.stage(
        *stage_of(make_bench(dev=dev.url, prod=prod.url), family[0])
    )
    prod.clear_requests()
    assert make_bench(dev=dev.url, prod=prod.url).promote(family[0]).digest
    assert prod.count("PUT", SESSION) == prod.count("POST") == 0


@pytest.mark.parametrize("end", ["dev", "prod"])
def test_a_large_layer_broken_once_at_either_end_is_downloaded_once(
    make_bench: MakeBench,
    docker_registry: MakeDockerRegistry,
    fault_proxy: MakeFaultProxy,
    dev: Registry,
    end: str,
) -> None:
    """The reference registry drops a session that broke, so that only the spool helps."""
    size = 20_000_000
    image = dev.put_image("app", "v1", make_image([make_layer({"a": noise("large", size)})]))
    path, size = layer_of(image)
    line = fault_proxy(docker_registry().url)
    if end == "dev":
        dev.inject(Fault(cut_after=size // 2), method="GET", pattern=path)
    else:
        digest = path.rpartition("/")[2]
        line.inject(Fault(cut_request_after=size // 2), method="PUT", pattern=digest)
    done = make_bench(dev=dev.url, prod=line.url).promote("app:v1")
    assert done.digest == image.digest
    assert dev.traffic("GET", path)[1] <= 1.05 * size
