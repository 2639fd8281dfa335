"""Numbers, made fit to be read."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


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
