"""The one answer to every token that the server does not accept.

Whoever sends a bad token learns nothing from the answer: an expired token, a forged one
and plain rubbish all get the same text. Why is written to the server's log and to the
audit log, as one of our own short codes, never with anything out of the token.
"""

from __future__ import annotations

from imgctl_core.errors import NotAuthorized, TokenRefused
from imgctl_core.models import Actor


class Refusal(Exception):
    """Why a token is no good. Stays inside this package.

    `code` is one of our own words: it goes to the logs, so nothing of the token may be
    in it.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RefusedToken(TokenRefused):
    """The answer, and beside it the code, which goes to the audit log and never to a caller."""

    code: str = ""


class WrongConnector(NotAuthorized):
    """A token is good, and not by a connector that counts here. `actor` is whose it is."""

    def __init__(
        self, message: str, *, fix: str = "", id: str = "", actor: Actor | None = None
    ) -> None:
        super().__init__(message, fix=fix, id=id)
        self.actor = actor


def token_refused(code: str = "") -> RefusedToken:
    """Return the error for a token that is missing, malformed, forged, expired or foreign."""
    error = RefusedToken(
        "the server did not accept the token",
        fix="run `imgctl auth-check`: it compares your own copy of the token"
        " with what the server expects",
    )
    error.code = code
    return error
