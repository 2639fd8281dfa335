"""The paths that caches are asked to forget."""

from __future__ import annotations

import pytest

from imgctl_backends.spa.live.paths import MOST, invalidation_paths


def test_a_folders_index_is_asked_for_by_the_folder_too() -> None:
    keys = ["index.html", "docs/Index.html", "about.html", "sw.js"]
    assert invalidation_paths(keys) == [
        "/",
        "/about.html",
        "/docs/",
        "/docs/Index.html",
        "/index.html",
        "/sw.js",
    ]


def test_many_become_one() -> None:
    pages = [f"p{number}.html" for number in range(MOST)]
    assert len(invalidation_paths(pages)) == MOST
    assert invalidation_paths([*pages, "one-more.html"]) == ["/*"]
    assert invalidation_paths([*pages[:-1], "index.html"]) == ["/*"], "paths count, not keys"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a b.html", "/a%20b.html"),
        ("é.html", "/%C3%A9.html"),
        ("~me/x.html", "/%7Eme/x.html"),
        ("50%.html", "/50%25.html"),
        ("a?b#c.html", "/a%3Fb%23c.html"),
        ("[id].html", "/%5Bid%5D.html"),
        ("a+b,c;d@e!.html", "/a+b,c%3Bd@e!.html"),
        ("all*", "/all%2A"),
    ],
)
def test_paths_are_encoded_as_cloudfront_wants_them(key: str, path: str) -> None:
    assert invalidation_paths([key]) == [path]
