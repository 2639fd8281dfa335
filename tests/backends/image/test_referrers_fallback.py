"""The list of referrers that we keep where a registry does not: several write it at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from imgctl_backends.image.content.manifests import OCI_INDEX, Descriptor
from imgctl_backends.image.copy.attachments import Attachment, fallback_tag
from imgctl_backends.image.distribution.fallback import FallbackTags
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.places import Place, open_home, place_in
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.rates import Rates
from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import Cancelled, EndpointFailed
from imgctl_core.testing.httpd import Fault
from imgctl_core.testing.httpd.messages import Request
from imgctl_core.testing.images import SampleManifest, make_artifact, sample_image
from imgctl_core.testing.registry import Registry

IMAGE = sample_image("listed")
TAG = fallback_tag(IMAGE.digest)


def put_artifact(registry: Registry, text: str) -> Attachment:
    made = make_artifact(text.encode(), "text/x", subject=IMAGE)
    registry.put_image("app", "", made)
    root = Descriptor(made.media_type, made.digest, len(made.content))
    return Attachment(root, IMAGE.digest, "", "text/x", {"n": text})


def listed(registry: Registry) -> list[str]:
    found = registry.manifest("app", TAG)
    assert found is not None
    return [entry["digest"] for entry in json.loads(found.content)["manifests"]]


def overwrite(registry: Registry, *entries: SampleManifest) -> None:
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [one.descriptor for one in entries],
    }
    registry.put_manifest("app", json.dumps(index).encode(), OCI_INDEX, (TAG,))


@pytest.fixture
def registry(make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(referrers=False)


@pytest.fixture
def place(registry: Registry) -> Iterator[Place]:
    home = open_home(ImageEndpoint(registry=registry.url), ImageSettings(), Rates())
    yield place_in(home, "app", push=True)
    home.close()


def test_many_threads_lose_nothing(registry: Registry, place: Place) -> None:
    lists = FallbackTags()
    found = [put_artifact(registry, f"{n}") for n in range(12)]
    start = threading.Barrier(len(found))

    def add(one: Attachment) -> None:
        start.wait()
        with Flight(Context()) as flight:
            lists.add(flight, place, IMAGE.digest, [one])

    with ThreadPoolExecutor(len(found)) as pool:
        list(pool.map(add, found))
    assert sorted(listed(registry)) == sorted(one.root.digest for one in found)
    assert registry.count("PUT", "/manifests/") == len(found), "nobody had to try again"


def test_what_is_listed_is_not_listed_twice(registry: Registry, place: Place) -> None:
    lists = FallbackTags()
    found = [put_artifact(registry, f"{n}") for n in range(3)]
    with Flight(Context()) as flight:
        lists.add(flight, place, IMAGE.digest, found[:2])
        lists.add(flight, place, IMAGE.digest, found)
        lists.add(flight, place, IMAGE.digest, found)
    assert listed(registry) == [one.root.digest for one in found]
    assert registry.count("PUT", "/manifests/") == 2


def test_a_lost_race_is_made_up_for(registry: Registry, place: Place) -> None:
    """Somebody else puts the list that they read before ours was there."""
    theirs = make_artifact(b"theirs", "text/y", subject=IMAGE)
    registry.put_image("app", "", theirs)
    ours = put_artifact(registry, "ours")
    raced = False

    def race(request: Request) -> Fault | None:
        nonlocal raced
        if request.method == "GET" and registry.count("PUT", TAG) == 1 and not raced:
            raced = True
            overwrite(registry, theirs)
        return None

    registry.faults.append(race)
    with Flight(Context()) as flight:
        FallbackTags().add(flight, place, IMAGE.digest, [ours])
    assert raced
    assert listed(registry) == [theirs.digest, ours.root.digest]


def test_a_list_that_keeps_nothing_is_an_error(registry: Registry, place: Place) -> None:
    ours = put_artifact(registry, "ours")

    def undo(request: Request) -> Fault | None:
        if request.method == "GET":
            overwrite(registry)
        return None

    registry.faults.append(undo)
    with Flight(Context()) as flight, pytest.raises(EndpointFailed, match="does not keep"):
        FallbackTags().add(flight, place, IMAGE.digest, [ours])


def test_waiting_for_another_can_be_cancelled(registry: Registry, place: Place) -> None:
    lists = FallbackTags()
    found = [put_artifact(registry, f"{n}") for n in range(2)]
    release = threading.Event()
    held = registry.inject(Fault(hold=release), method="GET", pattern=TAG, times=1)
    cancel = CancelToken()

    def add(one: Attachment, token: CancelToken) -> None:
        with Flight(Context(cancel=token)) as flight:
            lists.add(flight, place, IMAGE.digest, [one])

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(add, found[0], CancelToken())
        assert held.struck.wait(10)
        second = pool.submit(add, found[1], cancel)
        cancel.cancel()
        with pytest.raises(Cancelled):
            second.result(5)
        release.set()
        first.result(5)
    assert listed(registry) == [found[0].root.digest]
