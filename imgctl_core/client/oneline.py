"""Text of others, made fit for one line of a terminal."""

from __future__ import annotations


def one_line(text: str, limit: int = 200) -> str:
    """Return `text` without anything that moves a cursor or reverses a line.

    Key comments, file names and an issuer's error texts are written by others. Control,
    format (which holds the bidirectional marks) and unassigned characters become `?`.
    """
    shown = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
