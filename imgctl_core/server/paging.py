"""Rows in pages: a manifest may have a million of them, and a message has a limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from imgctl_core.models import ManifestRow

#: Bytes of rows in one page, unless a single row is longer.
PAGE: Final = 256 * 1024


def pages(rows: Iterable[ManifestRow], limit: int = PAGE) -> Iterator[list[ManifestRow]]:
    """Yield the rows in lists that hold at most `limit` bytes, or one row."""
    page: list[ManifestRow] = []
    size = 0
    for row in rows:
        length = len(row.text.encode()) + len(row.json)
        if page and size + length > limit:
            yield page
            page, size = [], 0
        page.append(row)
        size += length
    if page:
        yield page
