"""Promotions that began to write and have no outcome on record: a crash cut them off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from imgctl_core.audit.chain import OPENING, parse
from imgctl_core.models import JSON

_BEGINS: Final = "promotion.requested"
_GOES_ON: Final = frozenset({_BEGINS, "promotion.cancel_requested"})

#: What is kept of a request, to say later what became of it.
_KEPT: Final = ("audit_id", "action", "actor", "source", "destination", "items")


class Unfinished:
    """Follows records as they come, and knows which promotions are under way by them.

    The first record of a file after a rotation, and every other that tells of a crash or a
    cut, carries what was under way then: the newest file is enough to know, whatever the
    ones before it have lost.
    """

    def __init__(self) -> None:
        self._open: dict[str, dict[str, JSON]] = {}

    def note(self, record: Mapping[str, JSON]) -> None:
        """Take notice of one record."""
        event = str(record.get("event"))
        audit_id = record.get("audit_id")
        if event in OPENING:
            carried = record.get("unfinished")
            if isinstance(carried, list):
                entries = [entry for entry in carried if isinstance(entry, dict)]
                self._open = {str(entry.get("audit_id")): entry for entry in entries}
        elif isinstance(audit_id, str) and event == _BEGINS:
            kept: dict[str, JSON] = {name: record[name] for name in _KEPT if name in record}
            kept["requested_seq"] = record.get("seq")
            kept["requested_at"] = record.get("ts")
            self._open[audit_id] = kept
        elif isinstance(audit_id, str) and event.startswith("promotion.") and event not in _GOES_ON:
            self._open.pop(audit_id, None)

    @property
    def entries(self) -> list[dict[str, JSON]]:
        """What is under way, the oldest first."""
        return list(self._open.values())

    def scan(self, path: Path) -> None:
        """Take notice of a whole file.

        Raises:
            OSError: it can't be read.
        """
        with path.open("rb") as stream:
            for record in _telling(stream):
                self.note(record)


def _telling(lines: Iterable[bytes]) -> Iterable[Mapping[str, JSON]]:
    for line in lines:
        # Most lines of a large log say nothing of promotions: they are not even parsed.
        if b'"event":"promotion.' in line or b'"unfinished":' in line:
            record = parse(line.removesuffix(b"\n"))
            if record is not None:
                yield record
