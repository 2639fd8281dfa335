"""Pages must find at the root what they load."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from imgctl_core import Context
from imgctl_core.errors import EndpointFailed, VerificationFailed

PAGE = "index.html"


@pytest.fixture
def page(stub: Any) -> Any:
    """Return a function that puts a page of v1, and the files of v1 beside it."""

    def put(text: str, *files: str, name: str = PAGE, **headers: str) -> None:
        stub.put("shop-prod", f"v1/{name}", text.encode(), **headers)
        for key in files:
            stub.put("shop-prod", f"v1/{key}", key.encode())

    return put


def refused(bench: Any) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        bench.plan("v1")
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        '<script src="/v1/a.js"></script>',
        '<base href="/v1/"><script src="a.js"></script>',
        '<script src="v1/a.js?x=1#y"></script>',
        '<script src="./v1/%61.js"></script>',
        '<script src="//cdn.example/a.js"></script><img src="data:image/png;base64,AA==">',
        '<a href="/nowhere.html"></a><script src="/sw.js"></script>',
        '<script src="/config.js"></script>',
    ],
)
def test_what_works_at_the_root(stub: Any, live_bench: Any, page: Any, text: str) -> None:
    page(text, "a.js", "sw.js")
    stub.put("shop-prod", "config.js", b"put there by others")
    live_bench(stub.url, "root").activate("v1")
    assert stub.buckets["shop-prod"][PAGE].body == text.encode()


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('<script src="a.js"></script>', "/a.js"),
        ('<link rel="stylesheet" href="/css/a.css">', "/css/a.css"),
        ('<img src="../logo.svg">', "/logo.svg"),
        ('<base href="/v2/"><script src="a.js"></script>', "/v2/a.js"),
        ('<script src="/v1/b.js"></script>', "/v1/b.js"),
        ('<script src="/v1x/a.js"></script>', "/v1x/a.js"),
    ],
)
def test_what_would_not(stub: Any, live_bench: Any, page: Any, text: str, missing: str) -> None:
    page(text, "a.js", "css/a.css")
    error = refused(live_bench(stub.url, "root"))
    assert f"'index.html' loads '{missing}'" in error.message
    assert "s3://shop-prod/v1/ can't go live" in error.message
    has_it = missing in ("/a.js", "/css/a.css")
    assert ('the base /v1/, or set copy = "all"' in error.fix) is has_it
    assert ("with all its files" in error.fix) is not has_it
    assert stub.writes() == []


def test_only_the_pages_that_go_are_looked_at(
    stub: Any, live_bench: Any, seed: Any, page: Any
) -> None:
    seed("v2")
    page('<script src="gone.js"></script>')
    live_bench(stub.url, "root").activate("v2")


def test_pages_in_folders_and_web_manifests(stub: Any, live_bench: Any, page: Any) -> None:
    page("<p>")
    page('<script src="a.js"></script>', name="docs/index.html")
    page('{"icons": [{"src": "icon.png"}]}', name="app.webmanifest")
    message = refused(live_bench(stub.url, "root")).message
    assert "'docs/index.html' loads '/docs/a.js'" in message
    assert "'app.webmanifest' loads '/icon.png'" in message


def test_with_all_files_relative_ones_are_found(stub: Any, live_bench: Any, page: Any) -> None:
    page('<script src="js/a.js"></script><link rel="icon" href="/v1/js/a.js">', "js/a.js")
    bench = live_bench(stub.url, "root", copy="all")
    bench.activate("v1")
    assert stub.buckets["shop-prod"]["js/a.js"].body == b"js/a.js"
    page('<script src="js/b.js"></script>')
    error = refused(bench)
    assert "'/js/b.js'" in error.message
    assert "copy" not in error.fix


def test_another_file_of_that_name_is_not_enough(stub: Any, live_bench: Any, page: Any) -> None:
    page('<script src="a.js"></script>', "a.js")
    stub.put("shop-prod", "a.js", b"of another version")
    error = refused(live_bench(stub.url, "root"))
    assert "'index.html' loads '/a.js', which is another file" in error.message
    stub.put("shop-prod", "a.js", b"a.js")
    live_bench(stub.url, "root").activate("v1")


def test_what_is_served_from_elsewhere(stub: Any, live_bench: Any, page: Any) -> None:
    page('<script src="/api/config.js"></script><img src="/apis/x.png">')
    error = refused(live_bench(stub.url, "root", elsewhere=["/api/*"]))
    assert "'/apis/x.png'" in error.message
    assert "/api/config.js" not in error.message
    live_bench(stub.url, "root", elsewhere=["/api/*", "/apis/x.???"]).activate("v1")


def test_pages_that_are_stored_compressed(stub: Any, live_bench: Any) -> None:
    text = gzip.compress(b'<script src="a.js"></script>')
    stub.put("shop-prod", f"v1/{PAGE}", text, **{"content-encoding": "gzip"})
    assert "'/a.js'" in refused(live_bench(stub.url, "root")).message


@pytest.mark.parametrize(
    ("body", "encoding", "why"),
    [
        (b"\x8b\x02\x80<p>\x03", "br", "other than gzip"),
        (b"no gzip", "gzip", "as its content-encoding says"),
        (gzip.compress(b" " * 6_000_000), "gzip", "is larger than 5 MiB"),
        (b" " * 6_000_000, "identity", "is larger than 5 MiB"),
    ],
)
def test_pages_that_can_not_be_looked_at_are_noted(
    stub: Any, live_bench: Any, body: bytes, encoding: str, why: str
) -> None:
    stub.put("shop-prod", f"v1/{PAGE}", body, **{"content-encoding": encoding})
    context = Context()
    live_bench(stub.url, "root").activate("v1", context=context)
    (note,) = context.progress.notes
    assert note.startswith("not all pages could be looked at for what they load: 'index.html' ")
    assert note.endswith(why)


def test_many_are_told_in_few_words(stub: Any, live_bench: Any, page: Any) -> None:
    page("".join(f'<script src="{n}.js"></script>' for n in range(30)))
    message = refused(live_bench(stub.url, "root")).message
    assert "and 25 more" in message
    assert message.count("loads") == 5


@pytest.mark.parametrize("url", ["a%0Ab.js", "x" * 1100 + ".js", "a%2F..%2F..%2Fb.js"])
def test_names_that_no_file_has(stub: Any, live_bench: Any, page: Any, url: str) -> None:
    page(f'<script src="{url}"></script>')
    assert "'index.html' loads" in refused(live_bench(stub.url, "root")).message
    odd = [asked.key for asked in stub.asked if "\n" in asked.key or len(asked.key) > 1024]
    assert odd == [], "no server is asked for them"


def test_a_page_that_changes_while_it_is_looked_at(
    stub: Any, live_bench: Any, page: Any, fail: Any
) -> None:
    page("<p>")
    stub.faults.append(
        lambda asked: (
            fail(412, "PreconditionFailed")
            if asked.method == "GET" and asked.key == f"v1/{PAGE}"
            else None
        )
    )
    with pytest.raises(EndpointFailed, match="is not what was planned"):
        live_bench(stub.url, "root").plan("v1")


@pytest.mark.parametrize("mode", ["pointer", "cloudfront-kvs"])
def test_other_modes_read_no_page(
    stub: Any, kvs: Any, live_bench: Any, page: Any, mode: str
) -> None:
    page('<script src="a.js"></script>')
    arn = "arn:aws:cloudfront::111122223333:key-value-store/a1b2c3d4"
    settings = {"kvs_arn": arn} if mode == "cloudfront-kvs" else {}
    live_bench(stub.url, mode, **settings).activate("v1")
