"""Cancelling in every phase: quick, without a tag, without open sessions."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.wire.flight import Flight, Grip
from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import Cancelled, DeadlineExceeded
from imgctl_core.testing.httpd import Fault
from imgctl_core.testing.images import SampleManifest, make_image, make_layer, noise
from imgctl_core.testing.registry import Registry
from imgctl_core.testing.tls import TlsFiles

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench


@pytest.fixture(scope="module")
def large() -> SampleManifest:
    """Return an image larger than what the sockets hold, so that a sender blocks, too."""
    return make_image([make_layer({"a": noise("a", 12_000_000)})])


HANGS = {
    "looking up the source": ("dev", "HEAD", "/manifests/"),
    "looking up the destination": ("prod", "HEAD", "/manifests/"),
    "reading a manifest": ("dev", "GET", "/manifests/"),
    "reading a blob": ("dev", "GET", "/blobs/"),
    "opening a session": ("prod", "POST", "/uploads/"),
    "uploading a blob": ("prod", "PUT", "/uploads/"),
    "putting a manifest": ("prod", "PUT", "/manifests/"),
}


def cancel_when(event: threading.Event, token: CancelToken) -> threading.Thread:
    def wait() -> None:
        assert event.wait(20)
        token.cancel()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.fixture
def no_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a promotion wait for its threads, so that only waking them makes it quick."""
    monkeypatch.setattr("imgctl_backends.image.blobs.workers._LEAVE_SECONDS", 6.0)


@pytest.mark.usefixtures("no_leaving")
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS.keys())
def test_cancelling_wakes_whatever_hangs(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    tls_files: TlsFiles,
    large: SampleManifest,
    hang: tuple[str, str, str],
    secure: bool,
) -> None:
    tls = {"tls_cert": tls_files.cert, "tls_key": tls_files.key} if secure else {}
    ends = {"dev": make_registry(**tls), "prod": make_registry(**tls)}
    ca: dict[str, Path] = {"ca_file": tls_files.ca} if secure else {}
    bench = make_bench(
        dev={"registry": ends["dev"].url, **ca}, prod={"registry": ends["prod"].url, **ca}
    )
    ends["dev"].put_image("app", "v1", large)
    end, method, pattern = hang
    release, token = threading.Event(), CancelToken()
    injected = ends[end].inject(Fault(hold=release), method=method, pattern=pattern, times=None)
    cancelled_at: list[float] = []
    token.on_cancel(lambda: cancelled_at.append(time.monotonic()))
    canceller = cancel_when(injected.struck, token)
    try:
        with pytest.raises(Cancelled):
            bench.promote("app:v1", cancel=token)
        assert time.monotonic() - cancelled_at[0] < 2
    finally:
        release.set()
        canceller.join()
    assert ends["prod"].tags("app") == {}


def test_cancelling_an_upload_cancels_its_session_within_two_seconds(
    bench: Bench, dev: Registry, prod: Registry, large: SampleManifest
) -> None:
    dev.put_image("app", "v1", large)
    # One upload alone: of a second, the answer that names its session could be lost.
    smallest = min(large.all_blobs().values(), key=len)
    prod.put_blob("app", smallest)
    token = CancelToken()
    release = threading.Event()
    injected = prod.inject(Fault(hold=release), method="PUT", pattern="/uploads/", times=None)
    cancelled_at: list[float] = []
    token.on_cancel(lambda: cancelled_at.append(time.monotonic()))
    canceller = cancel_when(injected.struck, token)
    try:
        with pytest.raises(Cancelled):
            bench.promote("app:v1", cancel=token)
        assert time.monotonic() - cancelled_at[0] < 2
    finally:
        release.set()
        canceller.join()
    assert prod.count("DELETE", "/blobs/uploads/") == 1
    assert prod.open_uploads == 0


def test_a_cancelled_promotion_starts_nothing(bench: Bench, dev: Registry, prod: Registry) -> None:
    dev.put_image("app", "v1")
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        bench.promote("app:v1", cancel=token)
    assert dev.requests == prod.requests == ()


def test_after_a_cancelled_promotion_the_same_works(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1")
    token = CancelToken()
    release = threading.Event()
    injected = prod.inject(Fault(hold=release), method="PUT", pattern="/uploads/", times=1)
    canceller = cancel_when(injected.struck, token)
    try:
        with pytest.raises(Cancelled):
            bench.promote("app:v1", cancel=token)
    finally:
        release.set()
        canceller.join()
    assert bench.promote("app:v1").digest == image.digest


def test_the_deadline_ends_a_hanging_read(bench: Bench, dev: Registry) -> None:
    release = threading.Event()
    dev.inject(Fault(hold=release), times=None)
    start = time.monotonic()
    try:
        with pytest.raises(DeadlineExceeded):
            bench.promoter.plan(bench.item("app:v1"), Context(deadline=start + 0.3))
    finally:
        release.set()
    assert time.monotonic() - start < 2.5


def test_a_thread_that_can_not_be_woken_is_left_alone() -> None:
    workers, token, release = Workers(1), CancelToken(), threading.Event()
    started = threading.Event()

    def deaf() -> None:
        started.set()
        release.wait(30)

    canceller = cancel_when(started, token)
    try:
        with Flight(Context(cancel=token)) as flight, pytest.raises(Cancelled):
            workers.ask(flight, [deaf])
        assert not release.is_set()
    finally:
        release.set()
        canceller.join()
        workers.close()


def test_a_connection_that_comes_after_the_cut_is_cut() -> None:
    with Flight(Context()) as flight:
        flight.cut()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            grip = Grip(flight, 1.0)
            grip.hold(ours)
            assert theirs.recv(1) == b""
            grip.release()
