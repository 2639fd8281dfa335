"""The rules about one file: by its name, and by the headers that it is served with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from imgctl_backends.spa.lint.findings import Finding, Rule, about
from imgctl_backends.spa.lint.freshness import freshness
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import Order, Wave, is_hashed
from imgctl_backends.spa.reading.pages import LARGEST, is_page
from imgctl_backends.spa.wire.answers import plain

#: Seconds. An entry point may be a little late, and no more.
_LATE: Final = 300
_LONG: Final = 30 * 24 * 60 * 60

# What stores and upload tools write when nobody says what a file is.
_UNKNOWN: Final = re.compile(r"|\*/\*|[a-z]+/octet-stream|[a-z]+/(?:x-)?unknown(?:-.*)?")
_SCRIPT: Final = re.compile(r"(?:text|application)/(?:x-)?(?:java|ecma)script")
_HTML: Final = re.compile(r"text/html|application/xhtml\+xml")
_ANY: Final = re.compile(r".*")
#: What browsers take each kind of file for. JSON and web manifests they take as any type.
_TYPES: Final = {
    "css": re.compile(r"text/css"),
    "htm": _HTML,
    "html": _HTML,
    "js": _SCRIPT,
    "json": _ANY,
    "mjs": _SCRIPT,
    "svg": re.compile(r"image/svg\+xml"),
    "wasm": re.compile(r"application/wasm"),
    "webmanifest": _ANY,
}

Rules: TypeAlias = frozenset[Rule]

_NO_RULES: Final[Rules] = frozenset()
_TYPE_RULES: Final[Rules] = frozenset({Rule.CONTENT_TYPE})
_ENTRY_POINT_RULES: Final[Rules] = frozenset(
    {Rule.ENTRY_POINT_CACHED, Rule.ENTRY_POINT_UNCONTROLLED}
)
_ASSET_RULES: Final[Rules] = frozenset({Rule.ASSET_NOT_IMMUTABLE})


def by_name(file: File, order: Order) -> Iterator[Finding]:
    """Yield what a file's name and size alone tell."""
    if extension(file.key) == "map":
        yield about(
            Rule.SOURCE_MAP, file.key, "is a source map, which shows everybody the source code"
        )
    if not file.size and order.is_entry_point(file.key):
        yield about(Rule.EMPTY_ENTRY_POINT, file.key, "is empty")
    if is_page(file.key) and file.size > LARGEST:
        yield too_large(file.key)


def too_large(key: str) -> Finding:
    return about(
        Rule.PAGE_TOO_LARGE,
        key,
        f"is larger than {LARGEST // 1024**2} MiB, so what it names was not looked at",
    )


def served_rules(key: str, wave: Wave) -> Rules:
    """Return the rules about the headers that a file is served with."""
    found = extension(key)
    types = _TYPE_RULES if found in _TYPES else _NO_RULES
    if wave.visible:
        return types if is_hashed(key) else types | _ENTRY_POINT_RULES
    return types | _ASSET_RULES if wave is Wave.HASHED and found != "map" else types


def by_headers(key: str, headers: Mapping[str, str], order: Order) -> Iterator[Finding]:
    """Yield what the headers tell that a file is served with; their names are lower-case."""
    rules = served_rules(key, order.wave(key))
    found = [
        _content_type(key, headers) if Rule.CONTENT_TYPE in rules else None,
        _entry_point(key, headers) if Rule.ENTRY_POINT_CACHED in rules else None,
        _asset(key, headers) if Rule.ASSET_NOT_IMMUTABLE in rules else None,
    ]
    yield from filter(None, found)


def extension(key: str) -> str:
    """Return what follows the last dot of a file's name, in lower case, "" without one."""
    _, dot, found = key.rpartition("/")[2].rpartition(".")
    return found.lower() if dot else ""


def _content_type(key: str, headers: Mapping[str, str]) -> Finding | None:
    given = headers.get("content-type", "")
    essence = given.partition(";")[0].strip().lower()
    if not essence:
        return about(Rule.CONTENT_TYPE, key, "is served without a content type")
    if _UNKNOWN.fullmatch(essence):
        what = f"is served as {_shown(given)}, which says nothing of what it is"
        return about(Rule.CONTENT_TYPE, key, what)
    if not _TYPES[extension(key)].fullmatch(essence):
        what = f"is served as {_shown(given)}, which browsers do not take it for"
        return about(Rule.CONTENT_TYPE, key, what)
    return None


def _entry_point(key: str, headers: Mapping[str, str]) -> Finding | None:
    fresh = freshness(headers)
    if fresh.asks:
        return None
    longest = max(fresh.browsers or 0, fresh.proxies or 0) + fresh.stale
    if fresh.immutable or longest > _LATE:
        what = f"is served with {_caching(headers)}, so caches may use it for long"
        return about(Rule.ENTRY_POINT_CACHED, key, what)
    if fresh.browsers is None or fresh.proxies is None:
        what = f"is served with {_caching(headers)}, so caches keep it for as long as they like"
        return about(Rule.ENTRY_POINT_UNCONTROLLED, key, what)
    return None


def _asset(key: str, headers: Mapping[str, str]) -> Finding | None:
    fresh = freshness(headers)
    if not fresh.asks and (fresh.immutable or (fresh.browsers or 0) >= _LONG):
        return None
    what = f"is served with {_caching(headers)}, although another content has another name"
    return about(Rule.ASSET_NOT_IMMUTABLE, key, what)


def _caching(headers: Mapping[str, str]) -> str:
    said = [
        f"{name} {_shown(headers[name])}"
        for name in ("cache-control", "expires")
        if headers.get(name)
    ]
    return " and ".join(said) or "no cache-control"


def _shown(value: str) -> str:
    return repr(plain(value)[:200])
