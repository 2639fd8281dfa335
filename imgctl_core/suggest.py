"""The sentence that helps with a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" for a near miss, else what there is to choose from."""
    from difflib import get_close_matches  # only a mistake pays for it

    names = sorted(known)
    if not names:
        return "there are none"
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else "known are: " + ", ".join(names)
