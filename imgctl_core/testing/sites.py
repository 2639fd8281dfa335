"""Sample builds of a single-page application, and what a browser would miss of one.

The oracle reads pages as browsers do and shares no code with any promoter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from posixpath import dirname, join, normpath
from typing import Final

#: The attribute by which a tag makes a browser ask for something at once.
_ASKS: Final = {"script": "src", "img": "src", "link": "href"}
_IMPORTS: Final = re.compile(r'importScripts\("([^"]+)"\)')
_FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class SiteFile:
    """One file of a build, and the properties that its object has."""

    body: bytes
    content_type: str
    cache_control: str = _FOREVER


@dataclass(frozen=True)
class Site:
    """A build: its files by key, entry points as `entry_points` names them."""

    files: Mapping[str, SiteFile]
    entry_points: frozenset[str]

    def flaws(self, held: Mapping[str, bytes]) -> list[str]:
        """Return what is wrong with the entry points among `held`, a sentence each.

        Each has to be whole, and everything that it names has to be there and whole.
        What names nothing that is there may be in any state.
        """
        return [
            flaw for key in sorted(self.entry_points & held.keys()) for flaw in self._of(key, held)
        ]

    def _of(self, key: str, held: Mapping[str, bytes]) -> Iterator[str]:
        if held[key] != self.files[key].body:
            yield f"{key} is not whole"
        for name in named_by(key, self.files[key].body):
            if name not in held:
                yield f"{key} is there, and {name}, which it names, is not"
            elif held[name] != self.files[name].body:
                yield f"{key} is there, and {name}, which it names, is not whole"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.named: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.named += [value for name, value in attrs if value and name == _ASKS.get(tag)]


def named_by(key: str, body: bytes) -> list[str]:
    """Return the keys of what a page, a web manifest or a service worker names."""
    text = body.decode()
    if key.endswith(".html"):
        page = _Page()
        page.feed(text)
        names = page.named
    elif key.endswith(".webmanifest"):
        names = [icon["src"] for icon in json.loads(text)["icons"]]
    else:
        names = _IMPORTS.findall(text)
    return [normpath(join(dirname(key), name)) for name in names]


def sample_site(assets: int = 4) -> Site:
    """Return a build with so many assets, two at least, the same for the same number.

    Its entry points are two pages, `index.html`, a service worker and a web manifest; the
    first asset is the smallest file of all.
    """
    parts = {
        f"assets/part-{number:08x}.{'css' if number % 3 == 1 else 'js'}": SiteFile(
            b"%d" % number if number == 0 else f"/* part {number} */".encode() * (number % 5 + 1),
            "text/css" if number % 3 == 1 else "text/javascript",
        )
        for number in range(assets)
    }
    files = {**parts, "logo.svg": SiteFile(b"<svg/>", "image/svg+xml", "max-age=60")}
    names, half = list(parts), len(parts) // 2
    entries = {
        "index.html": _page(["site.webmanifest", "logo.svg", *names], ""),
        "about.html": _page(["site.webmanifest", *names[:half]], ""),
        "docs/index.html": _page(["logo.svg", *names[half:]], "../"),
        "site.webmanifest": SiteFile(
            json.dumps({"name": "sample", "icons": [{"src": "logo.svg"}]}).encode(),
            "application/manifest+json",
            "no-cache",
        ),
        "sw.js": SiteFile(
            "\n".join(f'importScripts("{name}");' for name in names[::2]).encode(),
            "text/javascript",
            "no-cache",
        ),
    }
    return Site({**files, **entries}, frozenset(entries))


def _page(names: list[str], up: str) -> SiteFile:
    tags = {
        "js": '<script src="{}"></script>',
        "css": '<link rel="stylesheet" href="{}">',
        "svg": '<img src="{}">',
        "webmanifest": '<link rel="manifest" href="{}">',
    }
    lines = [tags[name.rpartition(".")[2]].format(up + name) for name in names]
    body = "\n".join(["<!doctype html>", *lines]).encode()
    return SiteFile(body, "text/html; charset=utf-8", "no-cache")
