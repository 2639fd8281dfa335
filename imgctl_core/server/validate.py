"""Checks what came over the wire before anything else looks at it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from imgctl_core.errors import InvalidReference, PromotionNotFound, RequestError

MAX_REFS: Final = 100
MAX_REF: Final = 1024
MAX_NAME: Final = 128

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
    for text in texts:
        if not text:
            raise InvalidReference("the reference is empty", fix="write it as app:v1.0.0")
        if len(text) > MAX_REF:
            raise InvalidReference(f"a reference is longer than {MAX_REF} characters")
        if _UNPRINTABLE.search(text):
            raise InvalidReference(f"the reference {text[:80]!a} has a control character")
    return tuple(texts)


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
