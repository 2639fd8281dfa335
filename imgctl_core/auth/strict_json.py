"""JSON without the ambiguities that attackers use.

Python's parser takes the last of two equal names, takes `NaN` and `1e999`, and lets a
RecursionError out for deep nesting. Two parsers that disagree on a token's claims are a
hole, so whatever is ambiguous is refused here.
"""

from __future__ import annotations

import json
import math

#: Deepest nesting that is taken. A token's claims need two levels.
MAX_DEPTH = 32


def loads_object(data: bytes) -> dict[str, object]:
    """Parse a JSON object in UTF-8.

    Raises:
        ValueError: it is no JSON object, a name stands twice in one object, a number is
            not finite, a string holds a lone surrogate, or the nesting is too deep.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        # A lone surrogate passes the parser as an escape, and breaks every later encoder.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(value)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _check_depth(value: object) -> None:
    # How deep the parser itself goes differs between Python's versions.
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return
        level = [inner for outer in level for inner in _inner(outer)]
    raise ValueError("nested too deeply")


def _inner(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number
