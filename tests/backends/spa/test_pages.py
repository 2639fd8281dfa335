"""What pages make a browser fetch, and where their URLs lead."""

from __future__ import annotations

import json
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgctl_backends.spa.reading import pages
from imgctl_backends.spa.reading.pages import Document, read_page, read_web_manifest, resolve

VITE = b"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="UTF-8" />
    <link rel="icon" type="image/svg+xml" href="/vite.svg" />
    <title>Shop</title>
    <script type="module" crossorigin src="/assets/index-BX3kd9aZ.js"></script>
    <link rel="modulepreload" crossorigin href="/assets/vendor-C0ffee12.js">
    <link rel="stylesheet" crossorigin href="/assets/index-D4tgPq7L.css">
    <script type="module">import "/assets/not-looked-at.js"</script>
    <script type="importmap" src="/importmap.json"></script>
    <script nomodule crossorigin src="/assets/polyfills-legacy-A1b2C3d4.js"></script>
    <script nomodule id="vite-legacy-entry" data-src="/assets/index-legacy-A1b2C3d4.js">0</script>
  </head>
  <body><div id="root"></div></body>
</html>"""

VITE_URLS = """
    /vite.svg
    /assets/index-BX3kd9aZ.js
    /assets/vendor-C0ffee12.js
    /assets/index-D4tgPq7L.css
    /assets/polyfills-legacy-A1b2C3d4.js
"""

WEBPACK = (
    b'<!doctype html><html lang="en"><head><meta charset="utf-8"/>'
    b'<link rel="icon" href="./favicon.ico"/><link rel="apple-touch-icon" href="./logo192.png"/>'
    b'<link rel="manifest" href="./manifest.json"/><title>App</title>'
    b'<script defer="defer" src="./static/js/main.3f2a9c1b.js"></script>'
    b'<link href="./static/css/main.e6c13ad2.css" rel="stylesheet"></head>'
    b"<body><noscript>You need to enable JavaScript to run this app.</noscript>"
    b'<div id="root"></div></body></html>'
)

WEBPACK_URLS = """
    ./favicon.ico
    ./logo192.png
    ./manifest.json
    ./static/js/main.3f2a9c1b.js
    ./static/css/main.e6c13ad2.css
"""

ANGULAR = b"""<!doctype html><html lang="en" data-beasties-container><head>
<base href="/"><link rel="icon" type="image/x-icon" href="favicon.ico">
<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin>
<style>@font-face{src:url(media/never-looked-at.woff2)}</style>
<link rel="stylesheet" href="styles-5INURTSO.css" media="print" onload="this.media='all'">
<noscript><link rel="stylesheet" href="styles-5INURTSO.css"></noscript></head>
<body><app-root></app-root><link rel="modulepreload" href="chunk-ABCDEF12.js">
<script src="polyfills-FFHMD2TL.js" type="module"></script>
<script src="main-K7A2QWEZ.js" type="module"></script></body></html>"""

ANGULAR_URLS = """
    favicon.ico
    styles-5INURTSO.css
    chunk-ABCDEF12.js
    polyfills-FFHMD2TL.js
    main-K7A2QWEZ.js
"""

NEXT = (
    b'<!DOCTYPE html><html><head><meta charSet="utf-8"/><link rel="preload" as="image" '
    b'imageSrcSet="/hero-640.webp 640w, /hero-1080.webp 1080w" imageSizes="100vw"/>'
    b'<link rel="stylesheet" href="/_next/static/css/1f2e3d4c5b6a7988.css" data-precedence="next"/>'
    b'<script src="/_next/static/chunks/webpack-0a1b2c3d4e5f6071.js" async=""></script>'
    b'<script src="/_next/static/chunks/polyfills-42372ed130431b0a.js" noModule=""></script></head>'
    b'<body><img alt="" srcSet="/a.png 1x, /b.png 2x" src="/b.png"/><a href="/docs">Docs</a>'
    b'<script>(self.__next_f=self.__next_f||[]).push([1,"<img src=/no.png>"])</script></body>'
)


NEXT_URLS = """
    /hero-640.webp
    /hero-1080.webp
    /_next/static/css/1f2e3d4c5b6a7988.css
    /_next/static/chunks/webpack-0a1b2c3d4e5f6071.js
    /_next/static/chunks/polyfills-42372ed130431b0a.js
    /b.png
    /a.png
"""


@pytest.mark.parametrize(
    ("page", "base", "urls"),
    [
        (VITE, "", VITE_URLS),
        (WEBPACK, "", WEBPACK_URLS),
        (ANGULAR, "/", ANGULAR_URLS),
        (NEXT, "", NEXT_URLS),
    ],
    ids=["vite", "webpack", "angular", "next"],
)
def test_pages_of_common_build_tools(page: bytes, base: str, urls: str) -> None:
    assert read_page(page) == Document(base, tuple(urls.split()))


@pytest.mark.parametrize(
    ("html", "urls"),
    [
        ('<script src="a.js">', "a.js"),
        ("<SCRIPT SRC=a.js></SCRIPT>", "a.js"),
        ('<script type="text/javascript" src=a.js>', "a.js"),
        ('<script type="text/x-template" src=a.js></script>', ""),
        ('<link rel="Shortcut Icon" href=a.ico>', "a.ico"),
        ('<link rel="mask-icon" href=a.svg>', "a.svg"),
        ('<link rel="prefetch" href=a.js><link rel=canonical href=/b><link href=c.css>', ""),
        ('<img src="a.png" src="b.png">', "a.png"),
        ("<img src>", ""),
        ('<img src="">', ""),
        ('<picture><source srcset="a.webp, b 2x"><img src=c></picture>', "a.webp b c"),
        ('<img srcset="a,b.png 1x,c.png 2x">', "a,b.png c.png"),
        ('<img srcset="a.png, , b.png 100w ">', "a.png b.png"),
        ('<img srcset="data:x;base64,iVBO 1x, b.png (x,y) 2x,">', "data:x;base64,iVBO b.png"),
        ('<img srcset=",">', ""),
        ('<video src=a poster=b><source src=c></video><audio src=d>', "a b c d"),
        ('<object data=a.svg></object><embed src=b.pdf>', "a.svg b.pdf"),
        ('<input type="image" src=a.png><input type=text src=b.png>', "a.png"),
        ('<iframe src=a.html></iframe><a href=b.html>b</a><form action=c>', ""),
        ('<svg><image href=a /><use xlink:href="s.svg#i"/><use href="#j"/>', "a s.svg#i #j"),
        ('<img src="a.png?x=1&amp;y=2">', "a.png?x=1&y=2"),
        ('<!-- <img src=a.png> --><img src=b.png>', "b.png"),
        ('<!--[if IE]><script src="ie.js"></script><![endif]--><script src="a.js">', "a.js"),
        ("<template><img src='{{url}}'><template></template></template><img src=a>", "a"),
        ("<template shadowrootmode=open><img src=a></template>", "a"),
        ("</template><img src=a>", "a"),
        ("<p>a < b && c<3 <img src=a><//x><b <img src=c>", "a"),
        ("<![CDATA[ x ]]><![what[ x ]]><img src=a>", "a"),
        ('<div a="b"c=\'d\' e=f"g><img src=a></div', "a"),
        ("<img src=a><img src=b", "a"),
        ("<img src=a><!-- never ended <img src=b>", "a"),
        ("<img src=a><script>if (a<b) x='<img src=c>'", "a"),
        ("", ""),
    ],
)  # fmt: skip
def test_elements(html: str, urls: str) -> None:
    assert read_page(html.encode()).urls == tuple(urls.split())


def test_the_first_base_with_an_address_counts() -> None:
    html = b"<template><base href=/no/></template><base target=_top><base href=/a/><base href=/b/>"
    assert read_page(html).base == "/a/"
    assert read_page(b'<base href=""><base href="/b/">').base == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding: str) -> None:
    assert read_page('<img src="käse.png">'.encode(encoding)).urls == ("käse.png",)


def test_what_is_no_text_is_read_as_far_as_it_goes() -> None:
    assert read_page(b'\xff<img src="a.png">\xc3<img src="\xe4.png">').urls == (
        "a.png",
        "\ufffd.png",
    )


def test_large_ones_are_not_read() -> None:
    filled = b"<img src=a>".ljust(pages.LARGEST)
    assert read_page(filled).urls == ("a",)
    for read in (read_page, read_web_manifest):
        with pytest.raises(pages.TooLarge):
            read(filled + b" ")


def test_no_page_has_more_than_anybody_waits_for() -> None:
    images = "".join(f"<img src={number}.png>" for number in range(pages.MOST - 1))
    found = read_page(f"{images}<img srcset='a 1x, b 2x'><img src=c>".encode())
    assert found.urls[-1] == "a"
    assert len(found.urls) == pages.MOST


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<a ", '<a "', "<a x='", "</", "<![", "<!", "<?", "<", "&#", "<script></script ", "("],
)
def test_hostile_pages_take_no_longer_than_their_size(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    begun = time.process_time()
    read_page(text.encode())
    read_page(f'<img srcset="{text}">'.encode())
    assert time.process_time() - begun < 10  # it is seconds where others are minutes


@given(st.text(alphabet="<>!-/\"'= \n&;[]?abtemplscrio", max_size=200))
def test_no_page_is_too_broken(html: str) -> None:
    read_page(html.encode())


def test_web_manifests() -> None:
    manifest = {
        "name": "Shop",
        "start_url": "/?pwa",
        "icons": [{"src": "i/192.png"}, {"src": "i/512.png"}, {"src": "i/192.png"}, {}, 3],
        "screenshots": [{"src": "s.png"}],
        "shortcuts": [{"url": "/cart", "icons": [{"src": "cart.png"}]}, {"icons": "no"}, None],
    }
    found = read_web_manifest(b"\xef\xbb\xbf" + json.dumps(manifest).encode())
    assert found == Document("", ("i/192.png", "i/512.png", "s.png", "cart.png"))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b'"icons"', b'{"icons": {"src": "a"}}', b'{"icons": [{"src": 1}]}',
     b"[" * 200_000, b'{"index.html": {"file": "assets/a.js", "isEntry": true}}'],
)  # fmt: skip
def test_what_is_no_web_manifest_asks_for_nothing(content: bytes) -> None:
    assert read_web_manifest(content) == Document()


@pytest.mark.parametrize(
    ("key", "page", "manifest"),
    [
        ("index.html", True, False),
        ("docs/a.HTM", True, False),
        ("a.html.gz", False, False),
        ("app.webmanifest", False, True),
        ("pwa/manifest.json", False, True),
        ("asset-manifest.json", False, False),
        (".webmanifest", False, False),
    ],
)
def test_names(key: str, page: bool, manifest: bool) -> None:
    assert (pages.is_page(key), pages.is_web_manifest(key)) == (page, manifest)


@pytest.mark.parametrize(
    ("url", "leads_to"),
    [
        ("a.js", "/v1/docs/a.js"),
        ("./a.js", "/v1/docs/a.js"),
        ("../a.js", "/v1/a.js"),
        ("../../../../a.js", "/a.js"),
        ("/a.js", "/a.js"),
        ("/x/./y/../a.js", "/x/a.js"),
        ("/..", "/"),
        ("sub/..", "/v1/docs/"),
        (".", "/v1/docs/"),
        ("sub/", "/v1/docs/sub/"),
        ("%2e%2E/a.js", "/v1/a.js"),
        ("..%2f..%2f..%2fa.js", "/a.js"),
        ("a%20b%C3%A9.js", "/v1/docs/a bé.js"),
        ("a bé.js", "/v1/docs/a bé.js"),
        ("100%.js", "/v1/docs/100%.js"),
        ("a%2523.js", "/v1/docs/a%23.js"),
        ("a.js?v=1#x", "/v1/docs/a.js"),
        ("a.js#x?y", "/v1/docs/a.js"),
        ("a.js?x=../../b", "/v1/docs/a.js"),
        ("?x", "/v1/docs/index.html"),
        (" \n a\n.js\t", "/v1/docs/a.js"),
        ("a:b.js", None),
        ("./a:b.js", "/v1/docs/a:b.js"),
        ("\\a\\b.js", "/a/b.js"),
        ("/a//b.js", "/a//b.js"),
        ("", None),
        (" ", None),
        ("#icon", None),
        ("//cdn.example/a.js", None),
        ("\\\\cdn.example\\a.js", None),
        ("https://cdn.example/a.js", None),
        ("HTTPS://cdn.example/a.js", None),
        ("data:image/png;base64,AA==", None),
        ("blob:https://x/1", None),
        ("mailto:a@b.example", None),
        ("java\nscript:void(0)", None),
        ("about:blank", None),
    ],
)
def test_where_a_url_leads(url: str, leads_to: str | None) -> None:
    assert resolve(url, "/v1/docs/index.html") == leads_to


@pytest.mark.parametrize(
    ("base", "url", "leads_to"),
    [
        ("/", "a.js", "/a.js"),
        ("/app/", "a.js", "/app/a.js"),
        ("/app", "a.js", "/a.js"),
        ("/app/", "/a.js", "/a.js"),
        ("/app/", "?x", "/app/"),
        ("./", "a.js", "/v1/a.js"),
        ("../..", "a.js", "/a.js"),
        ("", "a.js", "/v1/a.js"),
        ("#x", "a.js", "/v1/a.js"),
        ("?x", "a.js", "/v1/a.js"),
        ("data:text/plain,x", "a.js", "/v1/a.js"),
        ("https://cdn.example/app/", "a.js", None),
        ("//cdn.example/app/", "/a.js", None),
        ("/app/", "https://cdn.example/a.js", None),
    ],
)
def test_base(base: str, url: str, leads_to: str | None) -> None:
    assert resolve(url, "/v1/index.html", base) == leads_to


def test_a_pages_own_name_is_not_decoded() -> None:
    assert resolve("a.js", "/v1/100%25?/index.html") == "/v1/100%25?/a.js"


@given(st.text(), st.text(), st.text(alphabet=string.ascii_letters + "/.%"))
def test_no_path_leaves_the_site(url: str, base: str, folder: str) -> None:
    found = resolve(url, f"/{folder}/index.html", base)
    if found is not None and "." not in folder.split("/") and ".." not in folder.split("/"):
        assert found.startswith("/")
        assert not {".", ".."} & set(found.split("/"))
