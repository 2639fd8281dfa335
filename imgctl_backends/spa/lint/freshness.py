"""How long caches may use a response, by RFC 9111, 8246 and 5861.

`must-revalidate` shortens nothing: it only forbids what is stale. `immutable` only counts
while a response is fresh. And one that says nothing is kept for as long as a cache
thinks right, often a tenth of its age.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_DIRECTIVE: Final = re.compile(r'([\w!#$%&*+.^`|~-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,]*))?')
_SECONDS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a response allows, in seconds.

    `browsers` and `proxies` say for how long the two kinds of caches may use it without
    asking; None leaves it to them. `stale` is for how long after that it may be used
    once more while a new one is fetched. `asks` means that nobody may use it without
    asking, whatever else it says.
    """

    browsers: int | None
    proxies: int | None
    stale: int
    immutable: bool
    asks: bool


def freshness(headers: Mapping[str, str]) -> Freshness:
    """Return what a response's headers say; their names are lower-case.

    A time that is none counts as not given.
    """
    said = _directives(headers.get("cache-control", ""))
    # With names of headers behind it, `no-cache` is about those headers alone.
    asks = "no-store" in said or said.get("no-cache") == ""
    browsers = _seconds(said, "max-age")
    if browsers is None:
        browsers = _until(headers)
    proxies = _seconds(said, "s-maxage")
    if said.get("private") == "":
        proxies = 0
    elif proxies is None:
        proxies = browsers
    stale = 0 if "must-revalidate" in said else _seconds(said, "stale-while-revalidate") or 0
    return Freshness(browsers, proxies, stale, "immutable" in said, asks)


def _directives(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _DIRECTIVE.findall(text):
        found.setdefault(name.lower(), value.strip('"'))  # of two, the first counts
    return found


def _seconds(said: Mapping[str, str], name: str) -> int | None:
    value = said.get(name, "")
    return int(value) if _SECONDS.fullmatch(value) else None


def _until(headers: Mapping[str, str]) -> int | None:
    """Return the time that `expires` gives; what is no date there means the past."""
    if "expires" not in headers:
        return None
    expires = _date(headers["expires"])
    if expires is None:
        return 0
    sent = _date(headers.get("date", "")) or datetime.now(UTC)
    return max(0, int((expires - sent).total_seconds()))


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
