"""What people type to name an image, without any registry host in it."""

from __future__ import annotations

import re
from typing import Final

from imgctl_core.errors import InvalidReference
from imgctl_core.models import ArtifactRef

KIND: Final = "image"

#: Names longer than this are refused by registries (distribution-spec, "Pulling manifests").
MAX_NAME: Final = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_HOST_MARK = re.compile(r"[.:\[A-Z]", re.ASCII)

#: An input is quoted in messages up to this length.
_SHOWN = 120


def is_repository(text: str) -> bool:
    """Return whether the text is a repository name, or a prefix of one."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def parse(text: str) -> ArtifactRef:
    """Parse `name:tag`, `name@sha256:…` or `name:tag@sha256:…`.

    Raises:
        InvalidReference: the text is none of them, or names a registry host.
    """
    if len(text) > MAX_NAME + 1 + 128 + 1 + 71:
        raise InvalidReference("the image reference is too long", fix=_FIX)
    named, at, digest = text.partition("@")
    _refuse_host(text, named)
    name, tag = _split_tag(named)
    if not is_repository(name):
        raise InvalidReference(
            f"{_quoted(text)} is no image reference: {_quoted(name)} is no repository name",
            fix="repository names are lower-case letters, digits, '.', '_', '-' and '/'",
        )
    if tag is not None and _TAG.fullmatch(tag) is None:
        raise InvalidReference(
            f"{_quoted(text)} is no image reference: {_quoted(tag)} is no tag",
            fix="tags are up to 128 letters, digits, '_', '.' and '-', and start with none of the "
            "last two",
        )
    if at and _DIGEST.fullmatch(digest) is None:
        raise InvalidReference(
            f"{_quoted(text)} is no image reference: {_quoted(digest)} is no digest",
            fix="a digest is 'sha256:' and 64 lower-case hexadecimal digits",
        )
    if tag is None and not at:
        raise InvalidReference(f"{_quoted(text)} has neither a tag nor a digest", fix=_FIX)
    return ArtifactRef(KIND, name, tag, digest if at else None)


_FIX = "write name:tag or name@sha256:…; there is no default tag"


def _split_tag(named: str) -> tuple[str, str | None]:
    head, slash, last = named.rpartition("/")
    last, colon, tag = last.partition(":")
    return head + slash + last, tag if colon else None


def _refuse_host(text: str, named: str) -> None:
    first, slash, _ = named.partition("/")
    if slash and (first == "localhost" or _HOST_MARK.search(first)):
        raise InvalidReference(
            f"{_quoted(text)} names a registry, {_quoted(first)}",
            fix="leave the registry away: the environments say where images are",
        )


def _quoted(text: str) -> str:
    # Escaped where it is not ASCII: a Cyrillic letter must not pass for the Latin one.
    return ascii(text[:_SHOWN]) + "…" * (len(text) > _SHOWN)
