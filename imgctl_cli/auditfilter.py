"""Which records of an audit log somebody asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from imgctl_core.models import JSON
from imgctl_core.names import canonical_name


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a record must be. None is anything; `event` and `ref` may end in `*`."""

    event: str | None = None
    actor: str | None = None
    promotion: str | None = None
    ref: str | None = None
    kind: str | None = None
    environment: str | None = None
    destination: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __call__(self, record: Mapping[str, JSON]) -> bool:
        """Return whether a record passes."""
        written = _time(record)
        ends = (record.get("source"), record.get("destination"))
        return (
            (self.event is None or _matches(record.get("event"), self.event))
            and (self.actor is None or _is_actor(record.get("actor"), self.actor))
            and (self.promotion is None or record.get("audit_id") == self.promotion)
            and (self.ref is None or any(_matches(ref, self.ref) for ref in refs_of(record)))
            and (self.kind is None or self.kind in _kinds(record))
            and (self.environment is None or any(_is_place(e, self.environment) for e in ends))
            and (self.destination is None or _is_place(ends[1], self.destination))
            and (self.since is None or written is None or written >= self.since)
            and (self.until is None or written is None or written < self.until)
        )


def refs_of(record: Mapping[str, JSON]) -> list[JSON]:
    """Return the references that a record is about."""
    items = record.get("items")
    if isinstance(items, list):
        return [item.get("ref") for item in items if isinstance(item, dict)]
    refs = record.get("refs")
    return list(refs) if isinstance(refs, list) else []


def _kinds(record: Mapping[str, JSON]) -> Iterator[JSON]:
    for list_name in ("items", "kinds"):
        entries = record.get(list_name)
        for entry in entries if isinstance(entries, list) else ():
            yield entry.get("kind") if isinstance(entry, dict) else entry


def _matches(text: JSON, wanted: str) -> bool:
    if not isinstance(text, str):
        return False
    return text.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted


def _is_place(name: JSON, wanted: str) -> bool:
    return isinstance(name, str) and canonical_name(name) == canonical_name(wanted)


def _is_actor(actor: JSON, wanted: str) -> bool:
    if not isinstance(actor, dict):
        return False
    return wanted in (actor.get("name"), actor.get("email"), actor.get("sub"))


def _time(record: Mapping[str, JSON]) -> datetime | None:
    """Return when a record was written; one that doesn't say so passes every filter."""
    try:
        moment = datetime.fromisoformat(str(record.get("ts")))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
