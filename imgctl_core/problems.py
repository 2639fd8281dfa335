"""What pydantic found wrong, without the value: it may be a secret."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

#: By pydantic's kind of error: what its words, which speak of Python, mean in a file.
_WORDS = {
    "tuple_type": "must be a list",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "dict_type": "must be a table",
    "mapping_type": "must be a table",
    "model_type": "must be a table",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """The most telling problem of a model: `name` is the dotted field, or empty."""

    name: str
    message: str
    unknown: bool = False
    missing: bool = False


def most_telling(error: ValidationError) -> Problem:
    """Return one problem. An unknown key comes first: it often is the missing one, misspelt."""
    errors = error.errors(include_input=False, include_url=False, include_context=False)
    errors.sort(key=lambda one: one["type"] != "extra_forbidden")
    first = errors[0]
    return Problem(
        ".".join(str(part) for part in first["loc"]),
        _WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, "),
        unknown=first["type"] == "extra_forbidden",
        missing=first["type"] == "missing",
    )
