"""Checks of what was typed that need no server; which kinds there are, only it knows."""

from __future__ import annotations

from imgctl_core.errors import InvalidReference, MissingEnvironment
from imgctl_core.text import one_line


def check_promotable(ref: str) -> None:
    """Refuse what names no artifact in any grammar.

    Raises:
        InvalidReference: it is empty, hides something, or has neither tag nor digest.
    """
    _check_text(ref, "myapp:v1.0.0")
    if ":" not in ref and "@" not in ref:
        raise InvalidReference(
            f"{one_line(ref)!r} has neither a tag nor a digest, and there is no default one",
            fix=f"add one: {one_line(ref)}:v1.0.0, or {one_line(ref)}@sha256:…",
        )


def check_activatable(ref: str) -> None:
    """Refuse what names nothing that could go live.

    Raises:
        InvalidReference: it is empty, hides something, or has no kind.
    """
    _check_text(ref, "spa:shop:1.4.2")
    if ":" not in ref:
        raise InvalidReference(
            f"{one_line(ref)!r} has no kind, and there is no default one for what goes live",
            fix=f"add it: spa:{one_line(ref)}",
        )


def _check_text(ref: str, like: str) -> None:
    shown = one_line(ref)
    if not ref.strip():
        raise InvalidReference("the ref is empty", fix=f"say what is meant: {like}")
    if shown != ref:
        raise InvalidReference(
            f"{shown!r} is no ref: it has characters in it that can't be seen",
            fix="type it by hand",
        )


def require_destination(name: str) -> str:
    """Return the environment's name.

    Raises:
        MissingEnvironment: there is none.
    """
    if not name:
        raise MissingEnvironment(
            "no destination is given",
            fix="pass --destination, or set IMGCTL_DEFAULT_DESTINATION",
        )
    return name
