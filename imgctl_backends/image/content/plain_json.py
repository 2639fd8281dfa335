"""JSON that means the same to everybody who reads it.

RFC 8259, section 4, leaves open what a key means that is there twice, and Go's decoder,
with which registries and container runtimes read, takes keys for equal that differ in
case alone. Either could show us one image and a runtime another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Ambiguous(ValueError):
    """A document that different readers understand differently. The text says why."""


def read_json(content: bytes) -> Any:
    """Return what a document holds.

    Raises:
        Ambiguous: an object in it has a key twice.
        ValueError: it is no JSON.
        RecursionError: it nests too deep.
    """
    return json.loads(content, object_pairs_hook=_object, parse_constant=_no_number)


def folded(*names: str) -> dict[str, str]:
    """Return names by what they are when case does not count."""
    return {name.casefold(): name for name in names}


def other_case(data: Mapping[str, Any], names: Mapping[str, str]) -> str | None:
    """Return a key that some readers take for one of the `folded` names, and we don't."""
    return next((key for key in data if names.get(key.casefold(), key) != key), None)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Ambiguous("it has a key twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
