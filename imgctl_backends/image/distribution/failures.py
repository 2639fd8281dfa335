"""From what a registry answered to an error that says what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from imgctl_backends.image.wire.faults import Fault, Interrupted
from imgctl_backends.image.wire.transport import Reply
from imgctl_core.errors import EndpointDenied, EndpointFailed, EndpointUnreachable, ImgctlError

_READ: Final = 64 * 1024
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is no success. `codes` are the distribution API's, if it sent any."""

    status: int
    codes: tuple[str, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        said = ": ".join(part for part in (", ".join(self.codes), self.detail) if part)
        return f"HTTP {self.status}" + (f", {said}" if said else "")


def read_problem(reply: Reply) -> Problem:
    """Read what an answer says went wrong, however little that is."""
    try:
        return parse_problem(reply.status, reply.body(_READ))
    except (Fault, EndpointFailed):
        return Problem(reply.status)


def parse_problem(status: int, body: bytes) -> Problem:
    """Read an error body, which is only a MAY of the distribution API: HTML comes too."""
    try:
        errors = json.loads(body)["errors"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return Problem(status)
    if not isinstance(errors, list):
        return Problem(status)
    known = [error for error in errors[:5] if isinstance(error, dict)]
    codes = tuple(_clean(error.get("code"), 40) for error in known)
    detail = "; ".join(filter(None, (_clean(error.get("message"), _SHOWN) for error in known)))
    return Problem(status, tuple(filter(None, codes)), detail[:_SHOWN])


def failure(where: str, doing: str, problem: Problem) -> ImgctlError:
    """Return the error for an answer. `doing` completes "… when we wanted to"."""
    if problem.status in (401, 403):
        return EndpointDenied(
            f"the registry {where} refused us when we wanted to {doing} ({problem})",
            fix="check the endpoint's credentials, and what they may do in this repository",
        )
    return EndpointFailed(f"the registry {where} failed when we wanted to {doing} ({problem})")


def unreachable(fault: Fault) -> ImgctlError:
    """Return the error for a fault that stayed."""
    if isinstance(fault, Interrupted):
        return EndpointFailed(
            f"the registry {fault.where} kept answering HTTP {fault.status}",
            fix="run the same command again later: what is already there is not copied twice",
        )
    return EndpointUnreachable(
        f"the registry {fault.where} can't be used: {fault.reason}", fix=fault.fix
    )


def _clean(value: Any, limit: int) -> str:
    """Return a registry's text without what could mislead a terminal or a log."""
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else " " for char in value[:limit]).strip()
