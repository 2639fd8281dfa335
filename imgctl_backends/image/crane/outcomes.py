"""From crane's last words to an error that says what to do.

crane has one exit code for everything that goes wrong, so its text must be read.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from imgctl_backends.image.crane.program import Done
from imgctl_core.errors import EndpointDenied, EndpointFailed, EndpointUnreachable, ImgctlError

_SHOWN: Final = 300

_ABSENT = re.compile(r"\b(MANIFEST_UNKNOWN|NAME_UNKNOWN|NOT_FOUND)\b|404 Not Found", re.ASCII)
_DENIED = re.compile(r"\b(UNAUTHORIZED|DENIED)\b|\b40[13] (Unauthorized|Forbidden)", re.ASCII)
_TAG_TAKEN = re.compile(r"\bTAG_INVALID\b|imagetagalreadyexists|immutable", re.ASCII | re.I)
_DOWN = re.compile(
    r"dial tcp|connection re(fused|set)|no such host|i/o timeout|TLS handshake|tls: |x509: "
    r"|unexpected EOF|: EOF\b|context deadline exceeded|server gave HTTP response",
    re.ASCII,
)

#: The query of a redirect's target is a credential; so is what stands before an '@'.
_QUERY = re.compile(r"(https?://[^\s?\"]*)\?[^\s\"]*", re.ASCII)
_USER = re.compile(r"(https?://)[^\s/@\"]+@", re.ASCII)


def absent(done: Done) -> bool:
    """Return whether crane failed because there is no such image or repository."""
    return done.code != 0 and _ABSENT.search(_last(done)) is not None


def tag_refused(done: Done) -> bool:
    """Return whether a tag was not put because it is immutable and exists."""
    return done.code != 0 and _TAG_TAKEN.search(_last(done)) is not None


def failure(done: Done, where: str, doing: str, secrets: Collection[str]) -> ImgctlError:
    """Return the error for a crane that failed. `doing` completes "… when we wanted to"."""
    said = _last(done)
    shown = _told(said, secrets)
    if _DENIED.search(said):
        return EndpointDenied(
            f"{where} refused crane when we wanted to {doing} ({shown})",
            fix="check the endpoint's credentials, and what they may do in this repository",
        )
    if _DOWN.search(said):
        return EndpointUnreachable(
            f"crane could not reach {where} when we wanted to {doing} ({shown})",
            fix="run the same command again later: what is already there is not copied twice",
        )
    return EndpointFailed(f"crane failed when we wanted to {doing} at {where} ({shown})")


def _last(done: Done) -> str:
    """Return crane's own last word, or how it ended without one."""
    for line in reversed(done.said):
        if line.startswith("Error: "):
            return line.removeprefix("Error: ")
    if done.code < 0:
        return f"it was ended by signal {-done.code}"
    return done.said[-1] if done.said else f"it ended with code {done.code}"


def _told(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "…")
    text = _USER.sub(r"\1", _QUERY.sub(r"\1", text))
    clean = "".join(char if char.isprintable() else " " for char in text).strip()
    return clean if len(clean) <= _SHOWN else clean[:_SHOWN] + "…"
