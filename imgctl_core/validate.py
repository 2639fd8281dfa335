"""What may stand in a request at all, whatever its kind: the one place that says so.

The client asks before it sends, so that a slip costs no call. The server asks again before
anything else looks at what came: its word counts. Promoters judge the rest, by the grammar
of their kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from imgctl_core.errors import InvalidReference, PromotionNotFound, RequestError
from imgctl_core.models import ActivationRequest, PromotionRequest
from imgctl_core.text import is_plain

MAX_REFS: Final = 100
MAX_REF: Final = 1024
MAX_NAME: Final = 128
MAX_OPTIONS: Final = 20

_OPTION: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PROMOTION_ID: Final = re.compile(r"pr_[A-Za-z0-9_-]{1,64}", re.ASCII)

#: References in messages are cut to this length.
_SHOWN: Final = 80


def promotion(request: PromotionRequest) -> PromotionRequest:
    """Return a request to promote.

    Raises:
        RequestError: a field holds something that no request may hold.
    """
    references(request.refs)
    environment(request.destination, "destination")
    environment(request.source, "source")
    request_id(request.request_id)
    options(request.options)
    return request


def activation(request: ActivationRequest) -> ActivationRequest:
    """Return a request to make something live.

    Raises:
        RequestError: a field holds something that no request may hold.
    """
    reference(request.ref, like="spa:shop:1.4.2")
    environment(request.environment, "environment")
    request_id(request.request_id)
    return request


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
    if not text.strip():
        raise InvalidReference("the ref is empty", fix=f"say what is meant: {like}")
    if len(text) > MAX_REF:
        raise InvalidReference(f"a ref is longer than {MAX_REF} characters")
    if not is_plain(text):
        raise InvalidReference(
            f"{text[:_SHOWN]!a} is no ref: it has characters in it that can't be seen",
            fix="type it by hand",
        )
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
    if not is_plain(text):
        raise RequestError(
            f"the {field} {text!a} has characters in it that can't be seen", fix="type it by hand"
        )
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
            raise RequestError(f"{name[:_SHOWN]!a} is not the name of an option")
        if len(value) > MAX_NAME or not is_plain(value):
            raise RequestError(f"the option {name!r} has a value that it can't have")
    return dict(given)


def promotion_id(text: str) -> str:
    """Return a promotion's id.

    Raises:
        PromotionNotFound: no promotion ever has such an id.
    """
    if not _PROMOTION_ID.fullmatch(text):
        raise PromotionNotFound(
            f"{text[:_SHOWN]!a} is not the id of a promotion",
            fix="ids look like pr_…; `imgctl promote` prints one",
        )
    return text
