"""The rules of lint, what caches make of headers, and how findings read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from imgctl_backends.spa.lint.findings import Finding, Rule, about, failure, fold
from imgctl_backends.spa.lint.freshness import freshness
from imgctl_backends.spa.lint.rules import by_headers, by_name
from imgctl_backends.spa.lint.site import Site
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.pages import LARGEST, Document, read_page, read_web_manifest
from imgctl_backends.spa.references import Place
from imgctl_core.errors import PromotionError

ORDER = Order()
NO_CACHE = {"cache-control": "no-cache"}
IMMUTABLE = {"cache-control": "public, max-age=31536000, immutable"}
NOW = "Tue, 06 Jan 2026 12:00:00 GMT"


def rules(found: Iterable[Finding]) -> list[str]:
    return [finding.rule.value for finding in found]


def served(key: str, headers: Mapping[str, str], order: Order = ORDER) -> list[str]:
    return rules(by_headers(key, headers, order))


class TestContentType:
    @pytest.mark.parametrize(
        ("key", "content_type"),
        [
            ("assets/a.js", "text/javascript"),
            ("assets/a.js", "text/javascript; charset=utf-8"),
            ("assets/a.js", "Application/JavaScript"),
            ("assets/a.mjs", "application/x-javascript"),
            ("a.css", "text/css;charset=utf-8"),
            ("a.wasm", "application/wasm"),
            ("index.html", "text/html; charset=UTF-8"),
            ("a.HTM", "application/xhtml+xml"),
            ("a.svg", "image/svg+xml"),
            ("a.json", "application/json"),
            ("a.json", "text/plain"),
            ("a.webmanifest", "application/manifest+json"),
            ("a.woff2", "binary/octet-stream"),
            ("a.js.gz", ""),
            ("LICENSE", ""),
            ("js", ""),
        ],
    )
    def test_what_browsers_take(self, key: str, content_type: str) -> None:
        assert served(key, {"content-type": content_type, **NO_CACHE}) == []

    @pytest.mark.parametrize(
        ("key", "content_type"),
        [
            *((f"a.{extension}", content_type)
              for extension in ("js", "mjs", "css", "wasm", "html", "htm", "json", "svg",
                                "webmanifest")
              for content_type in ("", " ", "binary/octet-stream", "application/octet-stream")),
            ("a.js", "text/plain"),
            ("a.mjs", "text/plain; charset=utf-8"),
            ("a.js", "text/html"),
            ("a.js", "application/json"),
            ("a.css", "text/plain"),
            ("a.wasm", "text/plain"),
            ("a.html", "text/plain"),
            ("a.svg", "text/xml"),
            ("a.json", "application/unknown"),
            ("x/A.JS", "text/plain"),
            ("main.3f2a9c1b.js", "text/plain"),
        ],
    )  # fmt: skip
    def test_what_they_do_not(self, key: str, content_type: str) -> None:
        headers = {"content-type": content_type, **(IMMUTABLE if "3f" in key else NO_CACHE)}
        (found,) = by_headers(key, headers, ORDER)
        assert (found.rule, found.key) == (Rule.CONTENT_TYPE, key)
        assert found.sentence.startswith(f"'{key}' is served ")
        assert content_type.strip() in found.sentence

    def test_no_header_at_all(self) -> None:
        (found,) = by_headers("a.js", {}, ORDER)
        assert found.sentence == "'a.js' is served without a content type"


HTML = {"content-type": "text/html"}


class TestEntryPoints:
    @pytest.mark.parametrize(
        "control",
        [
            "no-cache",
            "NO-CACHE",
            "no-store",
            "max-age=0",
            "max-age=0, must-revalidate",
            "public, max-age=300",
            'max-age="60"',
            "private, max-age=60, s-maxage=86400",
            "max-age=31536000, no-cache",
            "immutable, no-store",
            "max-age=60, stale-while-revalidate=240",
            "max-age=60, stale-while-revalidate=86400, must-revalidate",
            "max-age=60, max-age=86400",
        ],
    )
    def test_headers_that_let_a_new_version_be_seen(self, control: str) -> None:
        assert served("index.html", {**HTML, "cache-control": control}) == []

    @pytest.mark.parametrize(
        "control",
        [
            "max-age=301",
            "max-age=3600, must-revalidate",
            "public, max-age=31536000, immutable",
            "immutable",
            "max-age=60, immutable",
            "max-age=0, s-maxage=86400",
            'no-cache="set-cookie", max-age=3600',
            'private="x-user", s-maxage=3600, max-age=0',
            "max-age=0, stale-while-revalidate=86400",
            "max-age=3600,no-transform",
            "MAX-AGE = 3600",
            'ext="a, no-store", max-age=3600',
        ],
    )
    def test_headers_that_do_not(self, control: str) -> None:
        (found,) = by_headers("index.html", {**HTML, "cache-control": control}, ORDER)
        assert found.rule is Rule.ENTRY_POINT_CACHED
        assert repr(control) in found.sentence

    @pytest.mark.parametrize(
        "control",
        ["", "public", "must-revalidate", "private", "s-maxage=60", "max-age=soon", "max-age=-1",
         "max-age", "no-transform", "x-no-cache"],
    )  # fmt: skip
    def test_headers_that_leave_it_to_caches(self, control: str) -> None:
        assert served("index.html", {**HTML, "cache-control": control}) == [
            "entry-point-uncontrolled"
        ]

    def test_no_header_at_all(self) -> None:
        (found,) = by_headers("index.html", HTML, ORDER)
        assert found.rule is Rule.ENTRY_POINT_UNCONTROLLED
        assert "no cache-control" in found.sentence

    @pytest.mark.parametrize(
        ("expires", "control", "expected"),
        [
            ("Tue, 06 Jan 2026 12:00:00 GMT", "", []),
            ("Tue, 06 Jan 2026 12:05:00 GMT", "", []),
            ("Tue, 06 Jan 2026 12:05:01 GMT", "", ["entry-point-cached"]),
            ("Wed, 06 Jan 2027 12:00:00 -0000", "public", ["entry-point-cached"]),
            ("Wed, 06 Jan 2027 12:00:00 GMT", "max-age=10", []),
            ("Wed, 06 Jan 2027 12:00:00 GMT", "no-cache", []),
            ("Mon, 05 Jan 2026 12:00:00 GMT", "", []),
            ("0", "", []),
            ("never", "", []),
            ("Tue, 06 Jan 99999999999999999999 12:00:00 GMT", "", []),
            ("Tue, 06 Jan 2026 12:00:00 +9999", "", []),
        ],
    )
    def test_expires(self, expires: str, control: str, expected: list[str]) -> None:
        headers = {**HTML, "expires": expires, "cache-control": control, "date": NOW}
        assert served("index.html", headers) == expected

    def test_expires_without_a_date_counts_from_now(self) -> None:
        headers = {**HTML, "expires": "Fri, 01 Jan 2100 00:00:00 GMT"}
        assert served("index.html", headers) == ["entry-point-cached"]
        assert served("index.html", {**headers, "date": "?"}) == ["entry-point-cached"]

    @pytest.mark.parametrize(
        "key",
        ["sw.js", "service-worker.js", "ngsw.json", "manifest.webmanifest", "remoteEntry.js",
         "version.json", "docs/index.html", "404.html"],
    )  # fmt: skip
    def test_whatever_is_asked_for_by_name_is_one(self, key: str) -> None:
        found = served(key, {"content-type": _type(key), **IMMUTABLE})
        assert found == ["entry-point-cached"]

    def test_a_hashed_one_is_asked_for_by_nobody_that_could_be_late(self) -> None:
        headers = {"content-type": "text/javascript", **IMMUTABLE}
        assert served("remoteEntry.3f2a9c1b.js", headers) == []

    def test_an_operators_own(self) -> None:
        headers = {"content-type": "text/javascript", **IMMUTABLE}
        assert served("boot/loader.js", headers) == []
        assert served("boot/loader.js", headers, Order(["boot/*"])) == ["entry-point-cached"]


def _type(key: str) -> str:
    return "text/html" if key.endswith("html") else "text/javascript"


class TestAssets:
    @pytest.mark.parametrize(
        "control",
        ["public, max-age=31536000, immutable", "max-age=2592000", "immutable", "max-age=31536000"],
    )
    @pytest.mark.parametrize("key", ["assets/index-BX3kd9aZ.woff2", "main.3f2a9c1b.png"])
    def test_kept_long(self, key: str, control: str) -> None:
        assert served(key, {"cache-control": control}) == []

    @pytest.mark.parametrize(
        "control",
        ["", "public", "no-cache", "no-store", "max-age=2591999", "s-maxage=31536000",
         "immutable, no-cache", "max-age=0, stale-while-revalidate=31536000"],
    )  # fmt: skip
    def test_asked_for_again_and_again(self, control: str) -> None:
        (found,) = by_headers("a/main.3f2a9c1b.png", {"cache-control": control}, ORDER)
        assert found.rule is Rule.ASSET_NOT_IMMUTABLE
        assert (repr(control) if control else "no cache-control") in found.sentence

    def test_expires_counts(self) -> None:
        headers = {"expires": "Wed, 06 Jan 2027 12:00:00 GMT", "date": NOW}
        assert served("main.3f2a9c1b.png", headers) == []

    @pytest.mark.parametrize("key", ["logo.png", "robots.txt", "main.3f2a9c1b.js.map"])
    def test_what_is_not_hashed_or_not_for_people_may_be_served_as_it_is(self, key: str) -> None:
        assert served(key, {}) == []


def test_strange_numbers_are_none() -> None:
    assert freshness({"cache-control": "max-age=" + "9" * 5000}).browsers is None
    assert freshness({"cache-control": "max-age=٣"}).browsers is None
    assert freshness({"cache-control": "max-age=999999999999"}).browsers == 999999999999


def test_what_a_server_says_is_shown_as_one_line() -> None:
    (found,) = by_headers("a.js", {"content-type": "a/\x1b[31m\n" + "x" * 900}, ORDER)
    assert found.sentence.isprintable()
    assert len(found.sentence) < 300


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (("index.html", 10), []),
        (("assets/a.js.map", 10), ["source-map"]),
        (("assets/a.CSS.MAP", 10), ["source-map"]),
        (("map", 10), []),
        (("maps/a.js", 10), []),
        (("index.html", 0), ["empty-entry-point"]),
        (("sw.js", 0), ["empty-entry-point"]),
        (("assets/a.js", 0), []),
        (("a.html", LARGEST), []),
        (("a.html", LARGEST + 1), ["page-too-large"]),
        (("a.js", LARGEST + 1), []),
    ],
)
def test_what_names_and_sizes_tell(file: tuple[str, int], expected: list[str]) -> None:
    assert rules(by_name(File(*file, "0" * 32), ORDER)) == expected


FILES = {
    "index.html",
    "docs/index.html",
    "assets/a.js",
    "assets/b c.css",
    "media/index.html",
    "favicon.ico",
}


class TestReferences:
    @pytest.mark.parametrize(
        ("key", "urls"),
        [
            ("index.html", "/assets/a.js ./assets/a.js assets/a.js /favicon.ico"),
            ("index.html", "/v1/assets/a.js /v1/favicon.ico"),
            ("index.html", "assets/b%20c.css?x#y media/ /media/"),
            ("index.html", "https://cdn.example/x.js //cdn.example/x.js data:,x #x"),
            ("docs/index.html", "../assets/a.js /assets/a.js index.html"),
            ("docs/index.html", "../../v1/assets/a.js ../../../../favicon.ico"),
            # Built for a path of the site.
            ("index.html", "/shop/assets/a.js /shop/favicon.ico"),
            ("index.html", "/team/shop/assets/a.js /team/shop/v1/favicon.ico"),
        ],
    )
    def test_what_is_there_in_one_reading_is_there(self, key: str, urls: str) -> None:
        assert missing(key, urls) == ()

    @pytest.mark.parametrize(
        ("key", "urls", "expected"),
        [
            ("index.html", "/assets/x.js", "/assets/x.js"),
            ("index.html", "assets/x.js assets/x.js ./assets/x.js", "/assets/x.js"),
            ("index.html", "Assets/a.js", "/Assets/a.js"),
            ("index.html", "assets/a.js/", "/assets/a.js/"),
            ("docs/index.html", "assets/a.js", "/docs/assets/a.js"),
            ("index.html", "/v2/assets/a.js /favicon.ico", "/v2/assets/a.js"),
            ("index.html", "b%2520c.css", "/b%20c.css"),
            ("index.html", "%PUBLIC_URL%/x.ico", "/%PUBLIC_URL%/x.ico"),
            ("index.html", "/shop/assets/a.js /shop/assets/x.js", "/shop/assets/x.js"),
            ("index.html", "/shop/assets/a.js /favicon.ico", "/shop/assets/a.js"),
            ("index.html", "/shop/assets/a.js /shop/favicon.ico /favicon.ico /x.js", "/x.js"),
            ("index.html", "/shop/assets/a.js /shop/favicon.ico /c/favicon.ico", "/c/favicon.ico"),
            ("index.html", "shop/assets/a.js", "/shop/assets/a.js"),
            ("index.html", "/x/y/z.js /x/q.js r.js", "/x/y/z.js /x/q.js /r.js"),
        ],
    )
    def test_what_is_there_in_none(self, key: str, urls: str, expected: str) -> None:
        assert missing(key, urls) == tuple(expected.split())

    def test_base(self) -> None:
        site = Site(FILES, "v1/")
        assert site.missing(Document("/", ("assets/a.js",)), "docs/index.html") == ()
        assert site.missing(Document("/shop/", ("assets/a.js",)), "docs/index.html") == ()
        assert site.missing(Document("https://cdn.example/", ("x.js",)), "index.html") == ()
        assert site.missing(Document("", ("assets/a.js",)), "docs/index.html") != ()


def missing(key: str, urls: str) -> tuple[str, ...]:
    return Site(FILES, "v1/").missing(Document("", tuple(urls.split())), key)


def test_whole_pages() -> None:
    """Angular's own page, its `<base>` and all, below a path of the site."""
    page = b'<base href="/app/"><link rel=icon href=favicon.ico><script src="assets/a.js"></script>'
    site = Site(FILES, "v1/")
    assert site.missing(read_page(page), "index.html") == ()
    gone = page.replace(b"a.js", b"x.js")
    assert site.missing(read_page(gone), "index.html") == ("/app/assets/x.js",)
    icons = read_web_manifest(b'{"icons": [{"src": "favicon.ico"}, {"src": "/i/512.png"}]}')
    assert site.missing(icons, "manifest.webmanifest") == ("/i/512.png",)


def test_a_page_full_of_deep_paths_takes_no_time() -> None:
    urls = tuple(f"/{'x/' * 400}{number}.js" for number in range(500))
    assert len(Site(FILES, "v1/").missing(Document("", urls), "index.html")) == 500


PLACE = Place("source", "dev", "shop-dev", "v1/")


def found(rule: Rule, *keys: str, among: int = 0) -> list[Finding]:
    return [
        Finding(rule, key, f"{key!r} is {number}", among)
        for number, key in enumerate(keys, start=1)
    ]


class TestWords:
    def test_one_finding_is_its_sentence(self) -> None:
        one = about(Rule.CONTENT_TYPE, "a.js", "is served without a content type")
        assert fold([one]) == ("content-type: 'a.js' is served without a content type",)

    def test_findings_of_one_rule_are_one_line(self) -> None:
        keys = [f"{name}.js" for name in "abcde"]
        assert fold(found(Rule.CONTENT_TYPE, *keys)) == (
            "content-type: 5 files, such as 'a.js', 'b.js', 'c.js': the first one is 1",
        )

    def test_a_sample_says_how_large_it_was(self) -> None:
        assert fold(found(Rule.CONTENT_TYPE, "a.js", "b.js", among=1100)) == (
            "content-type: 2 of 1,100 files looked at, such as 'a.js', 'b.js': the first one is 1",
        )
        assert fold(found(Rule.CONTENT_TYPE, "a.js", among=100)) == (
            "content-type: 1 of 100 files looked at: 'a.js' is 1",
        )

    def test_rules_come_in_their_order_with_the_worst_first(self) -> None:
        all_ = [each for rule in reversed(Rule) for each in found(rule, "a")]
        assert [line.partition(":")[0] for line in fold(all_)] == [rule.value for rule in Rule]
        assert next(iter(Rule)) is Rule.MISSING_REFERENCE

    def test_names_are_shown_as_listed_and_harmless(self) -> None:
        (line,) = fold(found(Rule.SOURCE_MAP, "\u202eab.map", "x'y.map"))
        assert line.isprintable()
        assert """"x'y.map\"""" in line

    def test_strict_makes_one_error_of_them(self) -> None:
        error = failure(
            [*found(Rule.SOURCE_MAP, "a.map", "b.map"), *found(Rule.MISSING_REFERENCE, "i.html")],
            PLACE,
        )
        assert isinstance(error, PromotionError)
        assert error.reason == "LINT_FAILED"
        assert error.message == (
            "the build in s3://shop-dev/v1/ (environment dev) has 3 problems: missing-reference: "
            "'i.html' is 1; source-map: 2 files, such as 'a.map', 'b.map': the first one is 1"
        )
        assert "--strict" in error.fix

    def test_what_is_only_left_out_fails_nothing(self) -> None:
        left_out = found(Rule.DIRECTORY_MARKERS, "") + found(Rule.PAGES_UNREAD, "")
        assert failure([], PLACE) is None
        assert failure(left_out, PLACE) is None
        one = failure([*left_out, *found(Rule.SOURCE_MAP, "a.map")], PLACE)
        assert one is not None
        assert "has 1 problem: source-map" in one.message
        assert "directory-markers" not in one.message
        assert all(rule.blames for rule in Rule if rule not in {f.rule for f in left_out})


def test_rules_have_the_names_that_were_released() -> None:
    assert [rule.value for rule in Rule] == [
        "missing-reference",
        "empty-entry-point",
        "content-type",
        "content-encoding",
        "entry-point-cached",
        "entry-point-uncontrolled",
        "asset-not-immutable",
        "source-map",
        "page-too-large",
        "pages-unread",
        "directory-markers",
    ]


def test_every_rule_is_explained() -> None:
    page = Path(__file__).parents[3] / "docs/reference/spa-lint.md"
    rows = re.findall(r"^\| `([a-z][a-z-]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [rule.value for rule in Rule]
