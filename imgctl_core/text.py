"""Other people's text, made fit to be shown: names, tags, comments, an issuer's words."""

from __future__ import annotations

_SPACE = frozenset("\t\n\r\x0b\x0c\x85\xa0")


def one_line(text: str, limit: int | None = None) -> str:
    """Return `text` on one line, with nothing in it that steers a terminal or hides.

    White space becomes a space. Control and format characters (the bidirectional ones of
    CVE-2021-42574 among them), lone surrogates and unassigned ones are replaced by
    U+FFFD, not removed, so that `pr<ESC>od` can't pass for `prod`. What is longer than
    `limit` ends in `…`.
    """
    kept = text if limit is None else text[: limit + 1]
    shown = "".join(map(_harmless, kept))
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def _harmless(char: str) -> str:
    if char.isprintable():
        return char
    return " " if char in _SPACE else "\ufffd"
