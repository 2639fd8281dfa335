"""Each fault at each call, at a real registry behind a faulty line and at the kit's own.

Every fault strikes once. The promotion has to end well, with every byte in place; or, where
other bytes came than were asked for, in a typed error with the tag untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.promoter import ImagePromoter
from imgctl_core.context import Context, ProgressCounter
from imgctl_core.errors import ImgctlError
from imgctl_core.models import PromotionItem
from imgctl_core.testing.faultproxy import HttpFaultProxy
from imgctl_core.testing.httpd import Fault, HttpServer, Request, Response
from imgctl_core.testing.images import SampleManifest, make_image, make_layer, noise
from imgctl_core.testing.peers import DockerRegistry
from imgctl_core.testing.registry import Registry

pytestmark = pytest.mark.usefixtures("no_waiting")

#: Method, where, and how the registry must be for the call to be made at all.
CALLS = {
    "HEAD manifest": ("HEAD", r"/manifests/", "both"),
    "GET manifest": ("GET", r"/manifests/", "source"),
    "HEAD blob": ("HEAD", r"/blobs/sha256", "destination"),
    "GET blob": ("GET", r"/blobs/sha256", "source"),
    "POST upload": ("POST", r"/blobs/uploads/", "destination"),
    "PUT blob": ("PUT", r"/blobs/uploads/.", "destination"),
    "PATCH blob": ("PATCH", r"/blobs/uploads/.", "destination"),
    "PUT manifest": ("PUT", r"/manifests/v1", "destination"),
    "GET manifest again": ("GET", r"/manifests/v1", "destination"),
}

FAULTS: dict[str, dict[str, Any]] = {
    "reset": {"drop": True},
    "stall": {"stall_after": 1},
    "answer lost": {"lose": True},
    "answer cut": {"cut_after": 5},
    "answer short": {"short_after": 5},
    "answer truncated": {"truncate": 5},
    "wrong bytes": {"corrupt": True},
    "body cut": {"cut_request_after": 50},
    "body stalls": {"stall_request_after": 50},
    "body damaged": {"corrupt_request": True},
    "408": {"answer": Response(408)},
    "429": {"answer": Response(429, {"Retry-After": "0"})},
    "429 late": {"answer": Response(429, {"Retry-After": "0"}), "late": True},
    "500": {"answer": Response(500)},
    "503": {"answer": Response(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})},
}

#: A manifest that arrives with other bytes is refused at once by whoever reads it.
MAY_FAIL = {
    ("GET manifest", "wrong bytes"),
    ("GET manifest", "answer truncated"),
    ("GET manifest again", "wrong bytes"),
    ("GET manifest again", "answer truncated"),
    ("PUT manifest", "body damaged"),
}


@dataclass
class Lines:
    """The servers at which faults are injected, and a promoter between them."""

    dev: HttpServer
    prod: HttpServer
    promoter: ImagePromoter

    def promote(self, ref: str) -> str:
        """Promote as the engine does; return the digest that the destination then holds."""
        context = Context(progress=ProgressCounter(ref))
        item = PromotionItem(ref, self.promoter.parse(ref), "dev", "prod")
        plan = self.promoter.plan(item, context)
        self.promoter.stage(plan, context)
        self.promoter.publish(plan, context)
        return self.promoter.verify(plan, context)


@contextmanager
def between(dev: HttpServer, prod: HttpServer) -> Iterator[Lines]:
    """One promoter serves all cases, as a server's does: no fault may poison it."""
    settings = ImageSettings(stall_seconds=0.25, kept_bytes=65536, jobs=1)
    ends = {"dev": ImageEndpoint(registry=dev.url), "prod": ImageEndpoint(registry=prod.url)}
    promoter = ImagePromoter(settings, ends)
    try:
        yield Lines(dev, prod, promoter)
    finally:
        promoter.close()


def fill(url: str, repository: str, image: SampleManifest) -> None:
    http = urllib3.PoolManager()
    for digest, blob in image.all_blobs().items():
        begun = http.request("POST", f"{url}/v2/{repository}/blobs/uploads/")
        location = begun.headers["Location"]
        location = location if location.startswith("http") else url + location
        mark = "&" if "?" in location else "?"
        assert http.request("PUT", f"{location}{mark}digest={digest}", body=blob).status == 201
    where = f"{url}/v2/{repository}/manifests/v1"
    headers = {"Content-Type": image.media_type}
    assert http.request("PUT", where, body=image.content, headers=headers).status == 201


@pytest.fixture(scope="module")
def real(peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    """Return two of the reference registry, each behind a proxy."""
    program = peer("docker-registry")
    with ExitStack() as stack:
        proxies = []
        for end in ("dev", "prod"):
            registry = DockerRegistry(program, tmp_path_factory.mktemp(end))
            stack.enter_context(registry)
            proxies.append(stack.enter_context(HttpFaultProxy(registry.url, timeout=5)))
        yield stack.enter_context(between(*proxies))


@pytest.fixture(scope="module")
def kit() -> Iterator[Lines]:
    with Registry() as dev, Registry() as prod, between(dev, prod) as lines:
        yield lines


def applies(call: str, fault: str) -> bool:
    """Whether there is a body for the fault to strike, in the direction it strikes."""
    method = CALLS[call][0]
    if fault in ("body cut", "body stalls", "body damaged"):
        return method in ("PUT", "PATCH")
    if fault in ("answer cut", "answer short", "answer truncated", "wrong bytes", "stall"):
        return method == "GET"
    return fault != "429 late" or method in ("PUT", "PATCH")


CASES = [
    (call, end, fault)
    for call, (_, _, side) in CALLS.items()
    for end in (("dev", "prod") if side == "both" else ("dev",) if side == "source" else ("prod",))
    for fault in FAULTS
    if applies(call, fault)
]


def only_patches(name: str) -> Callable[[Request], Fault | None]:
    """Return a fault of a registry that takes no blob in one piece."""

    def refuse(request: Request) -> Fault | None:
        whole = request.method == "PUT" and request.headers.get("Content-Length") != "0"
        blob = f"/{name}/blobs/uploads/" in request.target
        return Fault(answer=Response(405)) if whole and blob else None

    return refuse


@pytest.mark.parametrize("where", ["kit", "real"])
@pytest.mark.parametrize(("call", "end", "fault"), CASES, ids=[", ".join(case) for case in CASES])
def test_every_fault_at_every_call(
    request: pytest.FixtureRequest, where: str, call: str, end: str, fault: str
) -> None:
    lines: Lines = request.getfixturevalue(where)
    name = "".join(char if char.isalnum() else "-" for char in f"{call}-{end}-{fault}".lower())
    image = make_image([make_layer({"a": noise(name, 300_000)})])
    fill(lines.dev.url, name, image)
    method, pattern, _ = CALLS[call]
    faulty: HttpServer = getattr(lines, end)
    struck = faulty.inject(Fault(**FAULTS[fault]), method=method, pattern=f"/{name}{pattern}")
    if call == "PATCH blob":
        lines.prod.faults.append(only_patches(name))
    served = urllib3.PoolManager()
    tag = f"{lines.prod.url}/v2/{name}/manifests/v1"
    accept = {"Accept": image.media_type}
    try:
        digest = lines.promote(f"{name}:v1")
    except ImgctlError:
        if (call, fault) not in MAY_FAIL:
            raise
        left = served.request("GET", tag, headers=accept)
        assert left.status == 404 or left.data == image.content
    else:
        # What `verify` reads is compared by the engine.
        assert digest == image.digest or (call, fault) in MAY_FAIL
        assert served.request("GET", tag, headers=accept).data == image.content
        for blob, content in image.all_blobs().items():
            url = f"{lines.prod.url}/v2/{name}/blobs/{blob}"
            assert served.request("GET", url).data == content
    assert struck.hits == 1
