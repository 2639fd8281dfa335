"""How names are compared."""

from __future__ import annotations


def canonical_name(name: str) -> str:
    """Return an environment's name as we write it: lower case, `-` for `_`."""
    return name.strip().lower().replace("_", "-")
