"""Making text fit to be shown: names, tags and messages are other people's text."""

from __future__ import annotations

import re

#: C0 and C1 controls, DEL, the bidirectional controls (CVE-2021-42574), the line and
#: paragraph separators, the byte order mark and lone surrogates.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SPACE = frozenset("\t\n\r")

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def clean(text: str) -> str:
    """Return `text` on one line, with nothing in it that steers a terminal.

    White space becomes a space; anything else harmful is replaced, not removed, so that
    `pr<ESC>od` can't pass for `prod`.
    """
    return _HARMFUL.sub(lambda match: " " if match[0] in _SPACE else "\ufffd", text)


def size(count: int) -> str:
    """Return a number of bytes for people, in powers of 1,000: `41.2 MB`."""
    number = float(count)
    for unit in _UNITS:
        if number < 999.95 or unit == _UNITS[-1]:
            break
        number /= 1000
    return f"{count} B" if unit == "B" else f"{number:.1f} {unit}"


def span(seconds: float) -> str:
    """Return a length of time for people, in its two largest units: `23 h 12 min`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
