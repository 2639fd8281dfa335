"""Checks of what was typed that need no server; which kinds there are, only it knows."""

from __future__ import annotations

from imgctl_core.errors import InvalidReference, MissingEnvironment
from imgctl_core.validate import environment, reference


def check_promotable(ref: str) -> None:
    """Refuse what names no artifact in any grammar.

    Raises:
        InvalidReference: it is empty, hides something, or has neither tag nor digest.
    """
    reference(ref, like="myapp:v1.0.0")
    if ":" not in ref and "@" not in ref:
        raise InvalidReference(
            f"{ref!r} has neither a tag nor a digest, and there is no default one",
            fix=f"add one: {ref}:v1.0.0, or {ref}@sha256:…",
        )


def check_activatable(ref: str) -> None:
    """Refuse what names nothing that could go live.

    Raises:
        InvalidReference: it is empty, hides something, or has no kind.
    """
    reference(ref, like="spa:shop:1.4.2")
    if ":" not in ref:
        raise InvalidReference(
            f"{ref!r} has no kind, and there is no default one for what goes live",
            fix=f"add it: spa:{ref}",
        )


def require_destination(name: str) -> str:
    """Return the environment's name.

    Raises:
        MissingEnvironment: there is none.
        RequestError: no environment can have that name.
    """
    if not name:
        raise MissingEnvironment(
            "no destination is given",
            fix="pass --destination, or set IMGCTL_DEFAULT_DESTINATION",
        )
    return environment(name, "destination")
