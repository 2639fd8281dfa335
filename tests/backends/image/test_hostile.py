"""Registries that lie, and what becomes of the destination's tag: nothing.

Each row of `LIES` spoils one thing, with another image under the destination's tag that
may be replaced. What is hostile and has its tests elsewhere:

| what | where |
|---|---|
| credentials and a redirect, an upload location, a token realm | test_signing_in |
| locations that are no address, or lead from https to http | test_parts |
| faults that pass, and faults that last, for each call | test_faults |
| manifests that make no sense, foreign layers, sha512, sparse indexes | test_promotion |
| links, pipes, damage and odd names in image layouts | test_layouts |
| the same lies told to crane | test_crane_engine |
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from imgctl_backends.image.endpoint import ImageEndpoint
from imgctl_backends.image.wire.hosts import HostRules
from imgctl_core.context import Context
from imgctl_core.errors import (
    ArtifactNotFound,
    Conflict,
    EndpointDenied,
    EndpointFailed,
    EndpointUnreachable,
    ImgctlError,
)
from imgctl_core.testing.httpd import Fault, HttpServer, Request, Response, StreamBody
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

pytestmark = pytest.mark.usefixtures("no_waiting")

BLOB, MANIFEST, SESSION, START = "/blobs/sha", "/manifests/", "/blobs/uploads/.", "/uploads/$"
OCI = "application/vnd.oci.image"
CONFIG = b"{}"


@dataclass(frozen=True)
class Lie:
    """What one side does wrong, and the error that must come of it."""

    spoil: Callable[[Registry], object]
    error: type[ImgctlError]
    said: str = "127"
    side: str = "dev"


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def manifest(**changes: object) -> bytes:
    """Return an image of nothing but a config, with some keys changed."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor(CONFIG, f"{OCI}.config.v1+json"),
        "layers": [],
    }
    return json.dumps({**document, **changes}).encode()


def answering(
    response: Response, *, method: str = "GET", pattern: str = ""
) -> Callable[[Registry], object]:
    """Answer this, always, to what matches."""
    return lambda registry: registry.inject(
        Fault(answer=response), method=method, pattern=pattern, times=None
    )


def spoiling(
    fault: Fault, *, method: str = "GET", pattern: str = ""
) -> Callable[[Registry], object]:
    return lambda registry: registry.inject(fault, method=method, pattern=pattern, times=None)


def showing(content: bytes, media_type: str = "", digest: str = "") -> Callable[[Registry], object]:
    """Show these bytes under the tag, and under their digest."""
    headers = {
        "Content-Type": media_type or f"{OCI}.manifest.v1+json",
        "Docker-Content-Digest": digest or digest_of(content),
    }
    return answering(Response(200, headers, content), method="", pattern=MANIFEST)


def holding(*entries: dict[str, object]) -> Callable[[Registry], object]:
    return showing(manifest(layers=list(entries)))


def endless(*, pattern: str) -> Callable[[Registry], object]:
    """Send a body that never ends, and does not say how long it is."""

    def hook(request: Request) -> Fault | None:
        if request.method != "GET" or pattern not in request.target:
            return None
        body = StreamBody(itertools.repeat(b" " * 65536), None)
        return Fault(answer=Response(200, {"Content-Type": f"{OCI}.manifest.v1+json"}, body))

    return lambda registry: registry.faults.append(hook)


def nested(levels: int) -> SampleManifest:
    image = make_image([make_layer({"a": b"a"})])
    for _ in range(levels):
        image = make_index([image])
    return image


def twice(key: str, value: object) -> bytes:
    """Return a manifest that has a key twice, in JSON that is otherwise sound."""
    return manifest()[:-1] + f', "{key}": {json.dumps(value)}}}'.encode()


def putting(image: SampleManifest) -> Callable[[Registry], object]:
    return lambda registry: registry.put_image("app", "v1", image)


MANY = make_index([make_image([make_layer({"a": b"a"})])] * 10_001)
LAYER = descriptor(b"x", f"{OCI}.layer.v1.tar")

LIES = {
    "blob of other bytes": Lie(
        spoiling(Fault(corrupt=True), pattern=BLOB), EndpointFailed, "other bytes"
    ),
    "blob too short": Lie(spoiling(Fault(truncate=5), pattern=BLOB), EndpointFailed, "size|short"),
    "blob cut off": Lie(spoiling(Fault(cut_after=5), pattern=BLOB), EndpointUnreachable),
    "blob without end": Lie(endless(pattern=BLOB), EndpointFailed, "too long|other bytes"),
    "blob that is HTML": Lie(
        answering(Response(200, {"Content-Type": "text/html"}, b"<html>"), pattern=BLOB),
        EndpointFailed,
        "size",
    ),
    "blob encoded on the way": Lie(
        answering(
            Response(200, {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 10_000)), pattern=BLOB
        ),
        EndpointFailed,
        "size",
    ),
    "manifest of other bytes": Lie(
        spoiling(Fault(corrupt=True), pattern=MANIFEST), EndpointFailed, "wrong bytes"
    ),
    "manifest under another's digest": Lie(
        showing(manifest(), digest="sha256:" + "0" * 64), EndpointFailed, "wrong bytes"
    ),
    "manifest without end": Lie(endless(pattern=MANIFEST), EndpointFailed, "more than the"),
    "manifest over the limit": Lie(
        showing(manifest(annotations={"a": "x" * 5_000_000})), EndpointFailed, "more than the"
    ),
    "manifest encoded on the way": Lie(
        answering(
            Response(
                200,
                {"Content-Encoding": "gzip", "Docker-Content-Digest": digest_of(manifest())},
                gzip.compress(manifest()),
            ),
            method="",
            pattern=MANIFEST,
        ),
        EndpointFailed,
        "wrong bytes",
    ),
    "HTML for a manifest": Lie(showing(b"<html>", "text/html"), EndpointFailed, "no JSON"),
    "HTML for every answer": Lie(
        answering(Response(200, {"Content-Type": "text/html"}, b"<html>"), method=""),
        EndpointFailed,
        "no JSON",
    ),
    "manifest that nests too deep": Lie(showing(b"[" * 200_000), EndpointFailed, "no JSON"),
    "object that nests too deep": Lie(showing(b'{"a":' * 200_000), EndpointFailed, "no JSON"),
    "number of many digits": Lie(
        showing(b'{"schemaVersion": ' + b"9" * 100_000 + b"}"), EndpointFailed, "no JSON"
    ),
    "no number": Lie(showing(b'{"schemaVersion": NaN}'), EndpointFailed, "no JSON"),
    "bytes that are no text": Lie(showing(b"\xff\xfe\xfd"), EndpointFailed, "no JSON"),
    "layers twice": Lie(showing(twice("layers", [LAYER])), EndpointFailed, "key twice"),
    "digest twice": Lie(
        showing(manifest().replace(b'"digest"', b'"digest": "x", "digest"', 1)),
        EndpointFailed,
        "key twice",
    ),
    "layers in another case": Lie(
        showing(twice("Layers", [LAYER])), EndpointFailed, "take for 'layers'"
    ),
    "digest in another case": Lie(
        holding({**LAYER, "Digest": "sha256:" + "1" * 64}), EndpointFailed, "take for 'digest'"
    ),
    "layers with a long s": Lie(
        showing(twice("layer\u017f", [LAYER])), EndpointFailed, "take for 'layers'"
    ),
    "index and image at once": Lie(showing(manifest(manifests=[])), EndpointFailed, "at once"),
    "unknown type": Lie(
        showing(manifest(mediaType="application/x"), "application/x"), EndpointFailed, "its type"
    ),
    "schema 1": Lie(
        showing(b'{"schemaVersion": 1, "fsLayers": []}', "application/json"),
        EndpointFailed,
        "its type",
    ),
    "digest of no known algorithm": Lie(
        holding({**LAYER, "digest": "md5:" + "0" * 32}), EndpointFailed, "can't check"
    ),
    "digest that climbs": Lie(
        holding({**LAYER, "digest": "sha256:../../../etc/passwd"}), EndpointFailed, "can't check"
    ),
    "size below nothing": Lie(holding({**LAYER, "size": -1}), EndpointFailed, "usable size"),
    "size beyond everything": Lie(holding({**LAYER, "size": 2**62}), EndpointFailed, "usable size"),
    "size that is not the blob's": Lie(
        holding({**descriptor(CONFIG, "x"), "size": 1}), EndpointFailed
    ),
    "sha512 blob of other bytes": Lie(
        holding({**LAYER, "digest": "sha512:" + "0" * 128, "size": 2}), ArtifactNotFound, "sha512:"
    ),
    "index too deep": Lie(putting(nested(9)), EndpointFailed, "too deep"),
    "index of too many": Lie(putting(MANY), EndpointFailed, "too long"),
    "sparse index": Lie(
        lambda dev: dev.put_manifest(
            "app", sample_image("s").content, sample_image("s").media_type, ("v1",)
        ),
        ArtifactNotFound,
        "sha256:",
    ),
    "digest header that is none": Lie(
        answering(
            Response(200, {"Docker-Content-Digest": "sha256:../x"}, b"<html>"),
            method="",
            pattern=MANIFEST,
        ),
        EndpointFailed,
        "no JSON",
    ),
    "circles": Lie(
        answering(Response(307, {"Location": "?again"}), method="", pattern=MANIFEST),
        EndpointFailed,
        "circles",
    ),
    "redirect to a file": Lie(
        answering(Response(307, {"Location": "file:///etc/passwd"}), pattern=BLOB),
        EndpointFailed,
        "no usable address",
    ),
    "redirect with a user name": Lie(
        answering(Response(307, {"Location": "http://u:p@127.0.0.1/"}), pattern=BLOB),
        EndpointFailed,
        "no usable address",
    ),
    "error that paints the terminal": Lie(
        answering(
            Response(400, {}, b'{"errors": [{"code": "X\\u001b[2J", "message": "\\u001b[31m"}]}'),
            pattern=BLOB,
        ),
        EndpointFailed,
    ),
    "error without end": Lie(
        lambda registry: registry.faults.append(
            lambda request: (
                Fault(answer=Response(400, {}, StreamBody(itertools.repeat(b"x" * 65536), None)))
                if request.method == "GET"
                else None
            )
        ),
        EndpointFailed,
    ),
    "upload location that is none": Lie(
        answering(Response(202, {"Location": "gopher://x/"}), method="POST", pattern=START),
        EndpointFailed,
        "no usable address",
        "prod",
    ),
    "upload without a location": Lie(
        answering(Response(202), method="POST", pattern=START), EndpointFailed, "127", "prod"
    ),
    "upload refused for ever": Lie(
        answering(Response(403), method="PUT", pattern=SESSION), EndpointDenied, "127", "prod"
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_is_one_typed_error_and_the_tag_stays(
    bench: Bench, dev: Registry, prod: Registry, lie: Lie
) -> None:
    theirs = prod.put_image("app", "v1", sample_image("theirs", layer_bytes=64))
    dev.put_image("app", "v1", make_image([make_layer({"a": noise("a", 5_000)})]))
    dev.put_blob("app", CONFIG)
    lie.spoil({"dev": dev, "prod": prod}[lie.side])
    with pytest.raises(lie.error, match=lie.said) as caught:
        bench.promote("app:v1", replace=True)
    assert type(caught.value) is lie.error
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    assert prod.tags("app") == {"v1": theirs.digest}


@pytest.fixture
def inside() -> Iterator[HttpServer]:
    """Return a server under a name that is not the registry's, at a private address."""
    with ExitStack() as stack:
        yield stack.enter_context(HttpServer(lambda request: Response(200, {}, b'{"token": "x"}')))


def elsewhere(server: HttpServer, path: str) -> str:
    return server.url.replace("127.0.0.1", "localhost") + path


SENT_AWAY = {
    "a blob's redirect": ("dev", "GET", BLOB, 307, "Location"),
    "a manifest's redirect": ("dev", "", MANIFEST, 307, "Location"),
    "an upload's location": ("prod", "POST", START, 202, "Location"),
    "a token realm": ("dev", "", "", 401, "WWW-Authenticate"),
    "the destination's token realm": ("prod", "POST", "", 401, "WWW-Authenticate"),
}


@pytest.mark.parametrize("case", SENT_AWAY.values(), ids=SENT_AWAY.keys())
def test_a_private_address_is_not_visited(
    bench: Bench,
    dev: Registry,
    prod: Registry,
    inside: HttpServer,
    case: tuple[str, str, str, int, str],
) -> None:
    side, method, pattern, status, header = case
    theirs = prod.put_image("app", "v1", sample_image("theirs", layer_bytes=64))
    dev.put_image("app", "v1", sample_image("ours", layer_bytes=64))
    target = elsewhere(inside, "/latest/meta-data")
    value = f'Bearer realm="{target}"' if status == 401 else target
    answering(Response(status, {header: value}), method=method, pattern=pattern)(
        {"dev": dev, "prod": prod}[side]
    )
    with pytest.raises(EndpointFailed, match="private address") as caught:
        bench.promote("app:v1", replace=True)
    assert "token_hosts" in caught.value.fix
    assert inside.requests == ()
    assert prod.tags("app") == {"v1": theirs.digest}


def test_a_host_that_is_listed_is_visited_without_our_credentials(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    prod: Registry,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text("s3cret")
    dev, storage = make_registry(auth="basic", username="bob", password="s3cret"), make_registry()
    image = dev.put_image("app", "v1")
    storage.put_image("app", "v1", image)

    def away(request: Request) -> Fault | None:
        if BLOB not in request.target or request.method != "GET":
            return None
        location = storage.url.replace("127.0.0.1", "localhost") + request.target
        return Fault(answer=Response(307, {"Location": location}))

    dev.faults.append(away)
    fields = {"registry": dev.url, "username": "bob", "password_file": secret}
    bench = make_bench(dev={**fields, "token_hosts": ["localhost"]}, prod=prod.url)
    assert bench.promote("app:v1").digest == image.digest
    assert storage.requests
    assert not any("Authorization" in request.headers for request in storage.requests)


def test_layers_marked_as_encoded_travel_as_they_are(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    """Some stores set Content-Encoding for what is gzip by itself: that is no encoding."""
    image = dev.put_image("app", "v1", make_image([make_layer({"a": noise("a", 50_000)})]))
    blobs = image.all_blobs()

    def marked(request: Request) -> Fault | None:
        digest = request.target.rpartition("/")[2]
        if request.method != "GET" or digest not in blobs:
            return None
        return Fault(answer=Response(200, {"Content-Encoding": "gzip"}, blobs[digest]))

    dev.faults.append(marked)
    assert bench.promote("app:v1").digest == image.digest
    assert set(blobs) <= prod.blobs("app")


def test_what_is_named_again_and_again_is_read_once(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    """Indexes that name one another's children must not multiply the work."""
    image = make_image([make_layer({"a": b"a"})])
    for _ in range(7):
        image = make_index([image, image, image])
    dev.put_image("app", "v1", image)
    assert bench.promote("app:v1").digest == image.digest
    read = [r.target for r in dev.requests if r.method == "GET" and MANIFEST in r.target]
    assert len(read) == len(set(read)) == 8


def test_entries_of_unknown_types_travel_as_blobs(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    content = noise("entry", 100)
    digest = dev.put_blob("app", content)
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.index.v1+json",
            "manifests": [descriptor(content, "application/x-unknown")],
        }
    ).encode()
    dev.put_manifest("app", index, f"{OCI}.index.v1+json", ("v1",))
    assert bench.promote("app:v1").digest == digest_of(index)
    assert digest in prod.blobs("app")


@pytest.mark.parametrize("side", ["dev", "prod"])
def test_a_tag_that_moves_after_the_plan(
    bench: Bench, dev: Registry, prod: Registry, side: str
) -> None:
    ours = dev.put_image("app", "v1", sample_image("ours", layer_bytes=64))
    plan = bench.plan("app:v1")
    bench.promoter.stage(plan, Context())
    moved = sample_image("moved", layer_bytes=64)
    {"dev": dev, "prod": prod}[side].put_image("app", "v1", moved)
    if side == "dev":
        bench.promoter.publish(plan, Context())
        assert prod.tags("app") == {"v1": ours.digest}
    else:
        with pytest.raises(Conflict):
            bench.promoter.publish(plan, Context())
        assert prod.tags("app") == {"v1": moved.digest}


def test_a_destination_that_says_it_took_what_it_did_not_is_found_out(
    bench: Bench, dev: Registry, prod: Registry
) -> None:
    image = dev.put_image("app", "v1", sample_image("ours", layer_bytes=64))
    answering(Response(201), method="PUT", pattern="/manifests/v1")(prod)
    headers = {"Docker-Content-Digest": image.digest, "Content-Type": image.media_type}
    plan = bench.plan("app:v1")
    bench.promoter.stage(plan, Context())
    bench.promoter.publish(plan, Context())
    answering(Response(200, headers, b"{}"), pattern="/manifests/v1")(prod)
    assert bench.promoter.verify(plan, Context()) != image.digest


@pytest.mark.parametrize(
    ("registry", "token_hosts", "realm", "allowed"),
    [
        ("https://r.example.com", [], "https://r.example.com/token", True),
        ("https://r.example.com", [], "https://r.example.com:8443/token", True),
        ("https://r.example.com", [], "http://r.example.com/token", False),
        ("https://r.example.com", [], "https://auth.example.com/token", False),
        ("https://r.example.com", ["auth.example.com"], "https://auth.example.com/token", True),
        ("https://r.example.com", ["auth.example.com"], "http://auth.example.com/token", False),
        ("http://r.example.com", ["auth.example.com"], "http://auth.example.com/token", False),
        ("https://r.example.com", ["*.example.com"], "https://a.b.example.com/token", True),
        ("https://r.example.com", ["*.example.com"], "https://example.com.evil.test/", False),
        ("https://r.example.com", ["*.example.com"], "https://evilexample.com/", False),
        ("docker.io", [], "https://auth.docker.io/token", True),
        ("docker.io", [], "http://auth.docker.io/token", False),
        ("docker.io", [], "https://auth.docker.io.evil.test/token", False),
        ("https://r.example.com", [], "https://auth.docker.io/token", False),
    ],
)
def test_who_gets_our_credentials_for_a_token(
    registry: str, token_hosts: list[str], realm: str, allowed: bool
) -> None:
    endpoint = ImageEndpoint.model_validate({"registry": registry, "token_hosts": token_hosts})
    base = f"{endpoint.address.scheme}://{endpoint.address.netloc}"
    assert HostRules(endpoint).may_have_credentials(realm, base) is allowed


PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_only_we_can_reach_are_refused(address: str) -> None:
    rules = HostRules(ImageEndpoint(registry="https://r.example.com"))
    with pytest.raises(EndpointFailed, match="private address"):
        rules.guard(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_followed(address: str) -> None:
    HostRules(ImageEndpoint(registry="https://r.example.com")).guard(address)
