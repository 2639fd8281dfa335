"""Lint of whole builds, against the stub and a real server."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from imgctl_backends.spa.endpoint import SpaEndpoint
from imgctl_backends.spa.lint import choice
from imgctl_backends.spa.lint.choice import MOST_OTHERS
from imgctl_backends.spa.lint.findings import Finding, Rule, fold
from imgctl_backends.spa.lint.inspection import LEVELS, conclude, inspect
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.listing import list_version
from imgctl_backends.spa.reading.pages import LARGEST
from imgctl_backends.spa.reading.sources import identified
from imgctl_backends.spa.references import Place
from imgctl_backends.spa.wire.bucket import Buckets
from imgctl_core import Context
from imgctl_core.errors import Cancelled, EndpointDenied, EndpointFailed, LintFailed

Look = Callable[..., tuple[Finding, ...]]

LONG = {"cache-control": "public, max-age=31536000, immutable"}
SHORT = {"cache-control": "no-cache"}
JS = {"content-type": "text/javascript", **LONG}
HTML = {"content-type": "text/html; charset=utf-8", **SHORT}
PAGE = b'<link rel=manifest href=/app.webmanifest><script src="./assets/main.3f2a9c1b.js"></script>'

BUILD: dict[str, tuple[bytes, dict[str, str]]] = {
    "index.html": (PAGE, HTML),
    "docs/index.html": (b'<script src="/assets/main.3f2a9c1b.js"></script>', HTML),
    "app.webmanifest": (
        b'{"icons": [{"src": "icon.svg"}]}',
        {"content-type": "application/manifest+json", **SHORT},
    ),
    "sw.js": (b"self", {"content-type": "text/javascript", **SHORT}),
    "assets/main.3f2a9c1b.js": (b"1", JS),
    "assets/core.0a1b2c3d.wasm": (b"2", {"content-type": "application/wasm", **LONG}),
    "icon.svg": (b"<svg/>", {"content-type": "image/svg+xml"}),
    "robots.txt": (b"", {}),
}


@pytest.fixture
def look(make_bench: Any, hasty: Any) -> Iterator[Look]:
    """Return a function that lists shop-dev/v1/ and inspects it."""
    buckets = Buckets()

    def look(
        url: str,
        *,
        thorough: bool = False,
        order: Order | None = None,
        context: Context | None = None,
        **endpoint: str,
    ) -> tuple[Finding, ...]:
        context = context or Context()
        place = Place("source", "dev", "shop-dev", "v1/", endpoint.get("bucket_owner", ""))
        settings = {"suffix": "dev", "endpoint_url": url, **endpoint}
        bucket = buckets.open(place, SpaEndpoint.model_validate(settings))
        listing = list_version(bucket, context, hasty)
        files = identified(bucket, listing, context)
        return inspect(bucket, files, listing.markers, order or Order(), thorough, context, hasty)

    yield look
    buckets.close()


def fill(stub: Any, build: Mapping[str, tuple[bytes, dict[str, str]]]) -> None:
    for key, (body, headers) in build.items():
        stub.put("shop-dev", f"v1/{key}", body, **headers)


def looked_at(stub: Any) -> list[tuple[str, str]]:
    return [
        (asked.method, asked.key.removeprefix("v1/"))
        for asked in stub.asked
        if asked.key and asked.method in ("GET", "HEAD")
    ]


def found(findings: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(finding.rule.value, finding.key) for finding in findings}


def test_a_good_build_has_no_findings_and_costs_one_call_a_file(stub: Any, look: Look) -> None:
    fill(stub, BUILD)
    assert look(stub.url) == ()
    assert sorted(looked_at(stub)) == [
        ("GET", "app.webmanifest"),
        ("GET", "docs/index.html"),
        ("GET", "index.html"),
        ("HEAD", "assets/core.0a1b2c3d.wasm"),
        ("HEAD", "assets/main.3f2a9c1b.js"),
        ("HEAD", "icon.svg"),
        ("HEAD", "sw.js"),
    ]
    assert not stub.writes()
    assert all(a.headers.get("if-match") for a in stub.asked if a.key)


def test_every_rule_finds_what_it_is_for(stub: Any, look: Look) -> None:
    fill(
        stub,
        {
            **BUILD,
            "index.html": (PAGE + b"<img src=gone.png>", {"content-type": "text/plain", **LONG}),
            "app.webmanifest": (b'{"icons": [{"src": "/i.png"}]}', SHORT),
            "sw.js": (b"", {"content-type": "text/javascript"}),
            "big.html": (b" " * (LARGEST + 1), HTML),
            "assets/main.3f2a9c1b.js": (b"1", {"content-type": "binary/octet-stream", **SHORT}),
            "assets/main.3f2a9c1b.js.map": (b"{}", {}),
            "assets/": (b"", {}),
            "": (b"", {}),
        },
    )
    findings = look(stub.url)
    assert found(findings) == {
        ("missing-reference", "index.html"),
        ("missing-reference", "app.webmanifest"),
        ("empty-entry-point", "sw.js"),
        ("content-type", "index.html"),
        ("content-type", "app.webmanifest"),
        ("content-type", "assets/main.3f2a9c1b.js"),
        ("entry-point-cached", "index.html"),
        ("entry-point-uncontrolled", "sw.js"),
        ("asset-not-immutable", "assets/main.3f2a9c1b.js"),
        ("source-map", "assets/main.3f2a9c1b.js.map"),
        ("page-too-large", "big.html"),
        ("directory-markers", ""),
    }
    lines = fold(findings)
    assert lines[0] == (
        "missing-reference: 2 files, such as 'index.html', 'app.webmanifest': the first one "
        "names '/gone.png', which the version does not have"
    )
    assert lines[-1] == "directory-markers: 2 folder markers are no file, and left out"
    assert not any("looked at" in line for line in lines if not line.startswith("page-too-large"))


def test_what_is_wrong_everywhere_in_one_folder_is_seen_at_little_cost(
    stub: Any, look: Look
) -> None:
    fill(stub, {f"assets/{n}-3f2a9c1b.js": (b"1", JS) for n in range(700)})
    fill(stub, {f"lazy/{n}-3f2a9c1b.js": (b"1", LONG) for n in range(30)})
    findings = look(stub.url)
    assert len(looked_at(stub)) == MOST_OTHERS
    assert {finding.rule for finding in findings} == {Rule.CONTENT_TYPE}
    (line,) = fold(findings)
    assert f"{len(findings)} of 100 files looked at, such as 'lazy/" in line

    stub.asked.clear()
    (line,) = fold(look(stub.url, thorough=True))
    assert len(looked_at(stub)) == 730
    assert line.startswith("content-type: 30 files, such as 'lazy/0-3f2a9c1b.js'")


def test_of_many_pages_some_are_read_and_lint_says_so(
    stub: Any, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MOST_ENTRY_POINTS", 10)
    fill(stub, {f"p/{n:03}.html": (b"<img src=x.png>", HTML) for n in range(23)})
    fill(stub, {"index.html": (PAGE, HTML)})
    first, last = fold(look(stub.url))
    assert sum(method == "GET" for method, _ in looked_at(stub)) == 10
    assert sum(method == "HEAD" for method, _ in looked_at(stub)) == 14
    assert first.startswith("missing-reference: 10 of 10 files looked at, such as 'index.html'")
    assert last == "pages-unread: 14 of 24 pages were not read for what they name"
    (line,) = fold(look(stub.url, thorough=True))
    assert line.startswith("missing-reference: 24 files, such as 'index.html'")


BROKEN = b"<img src=gone.png>"
ZIPPED = gzip.compress(BROKEN, mtime=0)
BOMB = gzip.compress(b" " * (LARGEST + 1), mtime=0)


ENCODED = {
    "none": ("", BROKEN, "missing-reference"),
    "identity": ("identity", BROKEN, "missing-reference"),
    "of the upload": ("aws-chunked", BROKEN, "missing-reference"),
    "gzip": ("gzip", ZIPPED, "missing-reference"),
    "gzip and of the upload": ("GZIP,aws-chunked", ZIPPED, "missing-reference"),
    "something behind": ("x-gzip", ZIPPED + b"what follows", "missing-reference"),
    "no gzip": ("gzip", BROKEN, "content-encoding"),
    "cut short": ("gzip", ZIPPED[:-9], "content-encoding"),
    "not told": ("", ZIPPED, "content-encoding"),
    "bomb": ("gzip", BOMB, "page-too-large"),
    "bombs": ("gzip", BOMB * 3, "page-too-large"),
    "brotli": ("br", b"<img src=gone.png>", ""),
    "two": ("gzip, br", ZIPPED, ""),
}


@pytest.mark.parametrize(("encoding", "body", "expected"), ENCODED.values(), ids=ENCODED)
def test_encodings(stub: Any, look: Look, encoding: str, body: bytes, expected: str) -> None:
    headers = {"content-encoding": encoding} if encoding else {}
    fill(stub, {"index.html": (body, {**HTML, **headers})})
    assert [finding.rule.value for finding in look(stub.url)] == ([expected] if expected else [])


def test_a_page_that_looks_like_an_error_is_a_page(stub: Any, look: Look) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>No</Message></Error>"
    fill(
        stub,
        {"index.html": (body, HTML), "a.html": (b"<Error><Code>SlowDown</Code></Error>", HTML)},
    )
    assert look(stub.url) == ()


def test_odd_names_are_asked_for_and_named_as_they_are(stub: Any, look: Look) -> None:
    key = "assets/a +é%20?#&.0a1b2c3d.js"
    page = b"<script src='assets/a%20+%C3%A9%2520%3F%23&amp;.0a1b2c3d.js'></script>"
    fill(stub, {"index.html": (page, HTML), key: (b"1", {"content-type": "text/plain", **LONG})})
    assert found(look(stub.url)) == {("content-type", key)}


def test_a_file_that_changed_meanwhile_is_an_error(stub: Any, look: Look) -> None:
    fill(stub, BUILD)

    def change(asked: Any) -> None:
        if asked.key in ("v1/index.html", "v1/sw.js"):
            stub.put("shop-dev", asked.key, b"another", **HTML)

    stub.faults.append(change)
    with pytest.raises(EndpointFailed, match="the source changed"):
        look(stub.url)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_passes_is_tried_again(stub: Any, look: Look, fail: Any, method: str) -> None:
    fill(stub, BUILD)
    left = [fail(503, "SlowDown"), fail(500, "InternalError")]
    stub.faults.append(
        lambda asked: left.pop() if left and asked.method == method and asked.key else None
    )
    assert look(stub.url) == ()
    assert not left


@pytest.mark.parametrize("key", ["v1/index.html", "v1/sw.js"])
def test_a_denial_names_the_action(stub: Any, look: Look, fail: Any, key: str) -> None:
    fill(stub, BUILD)
    stub.faults.append(lambda asked: fail(403, "AccessDenied") if asked.key == key else None)
    with pytest.raises(EndpointDenied, match=f"s3:GetObject on {key}"):
        look(stub.url)


def test_the_buckets_owner_is_checked(stub: Any, look: Look) -> None:
    fill(stub, BUILD)
    assert look(stub.url, bucket_owner=stub.owner) == ()
    assert all(asked.headers["x-amz-expected-bucket-owner"] == stub.owner for asked in stub.asked)


def test_it_can_be_cancelled(stub: Any, look: Look) -> None:
    fill(stub, BUILD)
    context, hold = Context(), threading.Event()

    def wait(asked: Any) -> None:
        if asked.method == "HEAD":
            context.cancel.cancel()
            hold.wait(30)

    stub.faults.append(wait)
    try:
        with pytest.raises(Cancelled):
            look(stub.url, context=context)
    finally:
        hold.set()


def test_levels(stub: Any, look: Look) -> None:
    assert LEVELS == ("warn", "strict", "off")
    fill(stub, {**BUILD, "a.js.map": (b"{}", {}), "x/": (b"", {})})
    findings = look(stub.url)
    place, context = Place("source", "dev", "shop-dev", "v1/"), Context()
    conclude(findings, "warn", place, context)
    assert context.progress.notes == fold(findings)
    assert len(context.progress.notes) == 2
    with pytest.raises(LintFailed, match=r"s3://shop-dev/v1/ .* has 1 problem: source-map: "):
        conclude(findings, "strict", place, Context())

    notes = Context()
    conclude([f for f in findings if f.rule is Rule.DIRECTORY_MARKERS], "strict", place, notes)
    assert notes.progress.notes == ("directory-markers: 1 folder marker is no file, and left out",)


def test_versitygw(
    versitygw: Any, look: Look, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = versitygw()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.secret_key)
    client = make_client(gateway.endpoint_url)
    client.create_bucket(Bucket="shop-dev")
    names = {
        "content-type": "ContentType",
        "cache-control": "CacheControl",
        "content-encoding": "ContentEncoding",
    }
    for key, (body, headers) in BUILD.items():
        arguments = {names[name]: value for name, value in headers.items()}
        client.put_object(Bucket="shop-dev", Key=f"v1/{key}", Body=body, **arguments)
    assert look(gateway.endpoint_url) == ()

    client.put_object(
        Bucket="shop-dev", Key="v1/docs/index.html", Body=ZIPPED, ContentEncoding="gzip"
    )
    client.put_object(Bucket="shop-dev", Key="v1/assets/späť +.0a1b2c3d.js", Body=b"1")
    assert found(look(gateway.endpoint_url)) == {
        ("missing-reference", "docs/index.html"),
        ("content-type", "docs/index.html"),
        ("entry-point-uncontrolled", "docs/index.html"),
        ("content-type", "assets/späť +.0a1b2c3d.js"),
        ("asset-not-immutable", "assets/späť +.0a1b2c3d.js"),
    }
