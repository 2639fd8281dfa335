"""Records of an audit log for people, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from imgctl_cli.auditfilter import refs_of
from imgctl_core.models import JSON
from imgctl_core.text import one_line

#: Events of which it matters most where the call came from.
_FROM_WHERE: Final = frozenset({"authn.denied", "authz.denied", "server.limited"})

#: Errors of one promotion that are shown; there may be one for each of hundreds of items.
_ERRORS: Final = 3

#: Digits enough to recognise a digest by.
_DIGEST: Final = len("sha256:") + 12


def line(record: Mapping[str, JSON]) -> str:
    """Return one record as one line: number, time, event, actor, what it is about, its id."""
    return "  ".join(
        (
            f"{one_line(str(record.get('seq'))):>5}",
            one_line(str(record.get("ts"))[:19]) + "Z",
            f"{one_line(str(record.get('event'))):<20}",
            *(one_line(part) for part in _parts(record)),
        )
    )


def _parts(record: Mapping[str, JSON]) -> Iterator[str]:
    actor = record.get("actor")
    if isinstance(actor, dict):
        yield str(actor.get("email") or actor.get("name") or actor.get("sub") or "-")
    if record.get("event") in _FROM_WHERE and record.get("peer"):
        yield f"from {record['peer']}"
    if refs := refs_of(record):
        yield ", ".join(str(ref) for ref in refs)
    if record.get("destination"):
        yield f"{record.get('source') or '?'} -> {record['destination']}"
    if replaced := ", ".join(_replaced(record)):
        yield f"replaced {replaced}"
    yield from _errors(record)
    if plugins := ", ".join(_plugins(record)):
        yield f"plugins {plugins}"
    # What was tried, and why it was denied.
    yield from (
        str(record[key]) for key in ("method", "why", "message", "cause") if record.get(key)
    )
    if record.get("audit_id"):
        yield str(record["audit_id"])


def _replaced(record: Mapping[str, JSON]) -> Iterator[str]:
    """Yield what was overwritten at its destination; going live overwrites nothing."""
    for item in _dicts(record, "items"):
        before = item.get("previous_digest")
        if item.get("outcome") == "promoted" and before and before != item.get("digest"):
            yield f"{item.get('ref')} (was {one_line(str(before), _DIGEST + 1)})"


def _errors(record: Mapping[str, JSON]) -> Iterator[str]:
    found = (item.get("error") for item in _dicts(record, "items"))
    told = list(
        dict.fromkeys(
            f"{error.get('reason')}: {error.get('message')}"
            for error in found
            if isinstance(error, dict)
        )
    )
    yield from told[:_ERRORS]
    if len(told) > _ERRORS:
        yield f"and {len(told) - _ERRORS} more errors"


def _plugins(record: Mapping[str, JSON]) -> Iterator[str]:
    for plugin in _dicts(record, "plugins"):
        shown = f"{plugin.get('name')} {plugin.get('version') or '?'}"
        status = plugin.get("status")
        yield shown if status in (None, "active") else f"{shown} ({status})"


def _dicts(record: Mapping[str, JSON], name: str) -> Iterator[Mapping[str, JSON]]:
    entries = record.get(name)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield entry
