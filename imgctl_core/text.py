"""Other people's text, made fit to be shown: names, tags, comments, an issuer's words."""

from __future__ import annotations

_SPACE = frozenset("\t\n\r\x0b\x0c\x85\xa0")

# Printable by name only: fillers, joiners and selectors that leave no mark of their own.
_UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)


def is_plain(text: str) -> bool:
    """Return whether all of `text` can be seen, on one line, in the order it is in."""
    return text.isprintable() and (text.isascii() or _UNSEEN.isdisjoint(text))


def one_line(text: str, limit: int | None = None) -> str:
    """Return `text` on one line, with nothing in it that steers a terminal or hides.

    White space becomes a space. Control and format characters (the bidirectional ones of
    CVE-2021-42574 among them), lone surrogates and unassigned ones are replaced by
    U+FFFD, not removed, so that `pr<ESC>od` can't pass for `prod`. What is longer than
    `limit` ends in `…`.
    """
    kept = text if limit is None else text[: limit + 1]
    shown = kept if is_plain(kept) else "".join(map(_harmless, kept))
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def _harmless(char: str) -> str:
    if is_plain(char):
        return char
    return " " if char in _SPACE else "\ufffd"
