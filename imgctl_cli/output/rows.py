"""Rows as JSON, written as they come: there may be a million of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby

from imgctl_cli.output.json import document
from imgctl_core.models import ManifestRow


def manifest(promotion_id: str, rows: Iterable[ManifestRow]) -> Iterator[str]:
    """Yield a promotion's manifest as one object, piece by piece."""
    yield f'{document({"id": promotion_id}).removesuffix("}")}, "items": '
    yield from by_ref(rows)
    yield "}\n"


def lines(rows: Iterable[ManifestRow]) -> Iterator[str]:
    """Yield one object a row, each on a line of its own."""
    for row in rows:
        yield f'{{"ref":{json.dumps(row.text)},"row":{row.json}}}\n'


def by_ref(rows: Iterable[ManifestRow]) -> Iterator[str]:
    """Yield an array of objects, one for each reference with its rows, piece by piece."""
    yield "["
    before = ""
    for ref, group in groupby(rows, lambda row: row.text):
        yield f'{before}{{"ref": {json.dumps(ref)}, "rows": ['
        between = "\n"
        for row in group:
            yield between + row.json
            between = ",\n"
        yield "\n]}"
        before = ", "
    yield "]"
