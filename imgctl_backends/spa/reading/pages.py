"""What a page or a web manifest makes a browser fetch by itself, and where that leads.

Hyperlinks and frames are left out: they are other pages. So is what only running or
styling the page tells: import maps, import statements, inline styles and style sheets.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote

#: Bytes. Whatever is larger than that is no page that a build makes.
LARGEST: Final = 5 * 1024**2
#: URLs of one page. No page that anybody waits for has more; what follows is left out.
MOST: Final = 10_000

_PAGE: Final = re.compile(r".*\.html?", re.IGNORECASE | re.DOTALL)
_WEB_MANIFEST: Final = re.compile(r"(?:.*/)?(?:.+\.webmanifest|manifest\.json)", re.I | re.DOTALL)

_RELATIONS: Final = frozenset(
    {
        "apple-touch-icon",
        "apple-touch-icon-precomposed",
        "icon",
        "manifest",
        "mask-icon",
        "modulepreload",
        "preload",
        "stylesheet",
    }
)
_SCRIPT_TYPE: Final = re.compile(
    r"(?:|module|(?:text|application)/(?:x-)?(?:java|ecma)script)", re.IGNORECASE
)
_ATTRIBUTES: Final = {
    "audio": ("src",),
    "embed": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src",),
    "object": ("data",),
    "source": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
_SETS: Final = {"img": "srcset", "link": "imagesrcset", "source": "srcset"}

_CANDIDATE: Final = re.compile(r"[\s,]*(\S+)")
_DESCRIPTORS: Final = re.compile(r"(?:[^,(]|\([^)]*(?:\)|\Z))*")

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_IGNORED_BASE: Final = re.compile(r"(?:data|javascript):", re.IGNORECASE)
_BLANK: Final = "".join(map(chr, range(0x21)))
_BREAKS: Final = str.maketrans("", "", "\t\n\r")


class TooLarge(Exception):
    """There is more of it than LARGEST."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a page asks for: URLs as written, each once, in the page's order.

    `base` is the `href` of its `<base>` as written, "" when it has none.
    """

    base: str = ""
    urls: tuple[str, ...] = ()


def is_page(key: str) -> bool:
    return _PAGE.fullmatch(key) is not None


def is_web_manifest(key: str) -> bool:
    return _WEB_MANIFEST.fullmatch(key) is not None


def read_page(content: bytes) -> Document:
    """Read an HTML page, broken as it may be.

    It is taken for UTF-8 unless it begins with a byte order mark that says otherwise.

    Raises:
        TooLarge: it is not read.
    """
    parser = _Parser()
    # Closing the parser would look at an unfinished tag's rest again and again, and no
    # browser makes an element of it either.
    parser.feed(_decoded(content))
    return Document(parser.base or "", tuple(dict.fromkeys(parser.urls)))


def read_web_manifest(content: bytes) -> Document:
    """Read a web manifest: its icons, screenshots and the icons of its shortcuts.

    What is no web manifest asks for nothing.

    Raises:
        TooLarge: it is not read.
    """
    try:
        manifest = json.loads(_decoded(content))
    except (ValueError, RecursionError):
        return Document()
    images = [*_members(manifest, "icons"), *_members(manifest, "screenshots")]
    for shortcut in _members(manifest, "shortcuts"):
        images += _members(shortcut, "icons")
    urls = [image.get("src") for image in images]
    return Document(urls=tuple(dict.fromkeys(url for url in urls if isinstance(url, str))))


def resolve(url: str, page: str, base: str = "") -> str | None:
    """Return the absolute path on the page's own site that a URL of the page leads to.

    `page` is the page's absolute path, such as `/docs/index.html`, and `base` what its
    `<base>` says. The path returned is decoded, without query and fragment, and has
    neither `.` nor `..` as a part. None means that the URL leads elsewhere: to another
    host, to no host at all, as `data:` does, or into the page itself.
    """
    url, base = _cleaned(url), _cleaned(base)
    if not url or url.startswith("#"):
        return None
    here = page if _IGNORED_BASE.match(base) else _joined(base, page)
    return None if here is None else _joined(url, here)


def _joined(url: str, page: str) -> str | None:
    if _SCHEME.match(url):
        return None
    path = re.split(r"[?#]", url, maxsplit=1)[0].replace("\\", "/")
    if path.startswith("//"):
        return None
    path = unquote(path)
    if not path:
        return page
    return _normal(path if path.startswith("/") else page[: page.rfind("/") + 1] + path)


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/")[1:]:
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    if path.endswith(("/.", "/..")):
        parts.append("")  # a folder
    return "/" + "/".join(parts)


def _cleaned(url: str) -> str:
    return url.strip(_BLANK).translate(_BREAKS)


def _decoded(content: bytes) -> str:
    if len(content) > LARGEST:
        raise TooLarge(f"it is larger than {LARGEST:,} bytes")
    utf16 = content.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig", "replace")


def _members(value: Any, name: str) -> list[dict[str, Any]]:
    found = value.get(name) if isinstance(value, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.urls: list[str] = []
        self._templates = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in reversed(attrs)}  # the first counts
        if tag == "template" and "shadowrootmode" not in attributes:
            self._templates += 1
        elif self._templates:
            return
        elif tag == "base" and self.base is None:
            self.base = attributes.get("href")
        else:
            found = filter(None, _asked(tag, attributes))
            self.urls += islice(found, MOST - len(self.urls))

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._templates = max(0, self._templates - 1)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        # Which HTML does not have: a browser takes it for a comment.
        return self.parse_bogus_comment(i)


def _asked(tag: str, attributes: dict[str, str]) -> Iterator[str]:
    """Yield the URLs that an element makes a browser fetch."""
    if tag == "link":
        if _RELATIONS.isdisjoint(attributes.get("rel", "").lower().split()):
            return
        yield attributes.get("href", "")
    elif tag == "script":
        if _SCRIPT_TYPE.fullmatch(attributes.get("type", "").strip()):
            yield attributes.get("src", "")
    elif tag == "input" and attributes.get("type", "").lower() == "image":
        yield attributes.get("src", "")
    yield from (attributes.get(name, "") for name in _ATTRIBUTES.get(tag, ()))
    yield from _candidates(attributes.get(_SETS.get(tag, ""), ""))


def _candidates(text: str) -> Iterable[str]:
    """Yield the URLs of a `srcset`. A comma ends one only where white space follows."""
    at = 0
    while found := _CANDIDATE.match(text, at):
        url, at = found[1], found.end()
        if url.endswith(","):
            yield url.rstrip(",")
            continue
        yield url
        rest = _DESCRIPTORS.match(text, at)
        at = rest.end() if rest else at
