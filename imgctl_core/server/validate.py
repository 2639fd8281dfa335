"""Checks what came over the wire before anything else looks at it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from imgctl_core.errors import InvalidReference, PromotionNotFound, RequestError

MAX_REFS: Final = 100
MAX_REF: Final = 1024
MAX_NAME: Final = 128
MAX_OPTIONS: Final = 20

_OPTION: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PROMOTION_ID: Final = re.compile(r"pr_[A-Za-z0-9_-]{1,64}", re.ASCII)
# C0, DEL and C1, line separators, and what reorders or hides text on a screen.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def references(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the references of a request.

    Raises:
        RequestError: there is none, or there are too many.
        InvalidReference: one can't be a reference of any kind.
    """
    if not texts:
        raise RequestError("no reference was given", fix="say what to promote, as in app:v1.0.0")
    if len(texts) > MAX_REFS:
        raise RequestError(
            f"{len(texts)} references in one request are too many",
            fix=f"send at most {MAX_REFS} at a time",
        )
    return tuple(reference(text) for text in texts)


def reference(text: str, like: str = "app:v1.0.0") -> str:
    """Return a reference; `like` is one to show to whoever gave none.

    Raises:
        InvalidReference: it can't be a reference of any kind.
    """
    if not text:
        raise InvalidReference("the reference is empty", fix=f"write it as {like}")
    if len(text) > MAX_REF:
        raise InvalidReference(f"a reference is longer than {MAX_REF} characters")
    if _UNPRINTABLE.search(text):
        raise InvalidReference(f"the reference {text[:80]!a} has a control character")
    return text


def item(text: str) -> str:
    """Return the reference of one item of a promotion, which may be empty.

    Raises:
        InvalidReference: it can't be a reference of any kind.
    """
    return references([text])[0] if text else ""


def environment(text: str, field: str) -> str:
    """Return an environment's name, which may be empty.

    Raises:
        RequestError: no environment can have that name.
    """
    if len(text) > MAX_NAME:
        raise RequestError(f"the {field} is longer than {MAX_NAME} characters")
    if _UNPRINTABLE.search(text):
        raise RequestError(f"the {field} {text!a} has a control character")
    return text


def request_id(text: str) -> str:
    """Return the client's own id of a request, which may be empty.

    Raises:
        RequestError: it isn't 1 to 64 letters, digits, `_` and `-`.
    """
    if text and not _REQUEST_ID.fullmatch(text):
        raise RequestError(
            "the request id is not 1 to 64 letters, digits, _ and -",
            fix="a UUID would do",
        )
    return text


def options(given: Mapping[str, str]) -> dict[str, str]:
    """Return the options of a request; which of them there are, a promoter knows.

    Raises:
        RequestError: no promoter can have such an option.
    """
    if len(given) > MAX_OPTIONS:
        raise RequestError(f"{len(given)} options in one request are too many")
    for name, value in given.items():
        if not _OPTION.fullmatch(name):
            raise RequestError(f"{name[:80]!a} is not the name of an option")
        if len(value) > MAX_NAME or _UNPRINTABLE.search(value):
            raise RequestError(f"the option {name!r} has a value that it can't have")
    return dict(given)


def promotion_id(text: str) -> str:
    """Return a promotion's id.

    Raises:
        PromotionNotFound: no promotion ever has such an id.
    """
    if not _PROMOTION_ID.fullmatch(text):
        raise PromotionNotFound(
            f"{text[:80]!a} is not the id of a promotion",
            fix="ids look like pr_…; `imgctl promote` prints one",
        )
    return text
