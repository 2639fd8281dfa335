"""The form of a record, and how it hangs on the one before it.

`hash` is the hex SHA-256 of the ASCII `prev_hash` followed by the record as JSON with
sorted keys, no spaces, ASCII only, without `hash`. An edit, a gap, a swap or an inserted
line breaks the chain; a cut-off tail does not, unless the head is kept elsewhere: every
promotion's answer carries it, and `verify` takes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imgctl_core.models import JSON

GENESIS: Final = "0" * 64
SCHEMA: Final = 1

#: Longest text kept of any one field, in characters: nobody fills the disk with a name.
MAX_TEXT: Final = 4096

#: Events that say how the log was found when it was opened, or that it was cut meanwhile. A
#: file that is not the first one of its log begins with one of them.
OPENING: Final = frozenset({"audit.rotated", "audit.recovered", "audit.truncated"})

_STRINGS: Final = ("event", "prev_hash", "hash", "ts")


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain stands: the number and the hash of its last record."""

    seq: int = 0
    head: str = GENESIS


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record, the line that it is written as, and where the chain stands with it."""

    record: Mapping[str, JSON]
    line: bytes
    link: Link


def canonical(record: Mapping[str, JSON]) -> bytes:
    """Return a record in the one form in which it is hashed and written."""
    # ASCII only: U+2028 would split a line, and a lone surrogate could not be written.
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def chain_hash(prev_hash: str, record: Mapping[str, JSON]) -> str:
    """Return the hash of a record, which must hold everything but `hash`."""
    return hashlib.sha256(prev_hash.encode("ascii") + canonical(record)).hexdigest()


def seal(after: Link, event: str, fields: Mapping[str, JSON], *, ts: str, boot_id: str) -> Sealed:
    """Return one more record of a chain."""
    record: dict[str, JSON] = {
        **{name: _capped(value) for name, value in fields.items()},
        "schema": SCHEMA,
        "seq": after.seq + 1,
        "ts": ts,
        "boot_id": boot_id,
        "event": event,
        "prev_hash": after.head,
    }
    digest = chain_hash(after.head, record)
    record["hash"] = digest
    return Sealed(record, canonical(record) + b"\n", Link(after.seq + 1, digest))


def parse(line: bytes) -> dict[str, JSON] | None:
    """Return the record that a line holds, None when it holds none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or type(record.get("seq")) is not int:
        return None
    return record if all(type(record.get(key)) is str for key in _STRINGS) else None


def is_intact(line: bytes, record: Mapping[str, JSON]) -> bool:
    """Return whether a line is, byte for byte, the record that its hash is of.

    The hash alone is not enough: JSON that names a field twice, or spells it in another
    way, would be read as the same record.
    """
    bare = {key: value for key, value in record.items() if key != "hash"}
    stored, before = str(record["hash"]), str(record["prev_hash"])
    try:
        return canonical(record) == line and chain_hash(before, bare) == stored
    except (UnicodeEncodeError, RecursionError):
        return False


def _capped(value: JSON) -> JSON:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
    if isinstance(value, list):
        return [_capped(each) for each in value]
    if isinstance(value, dict):
        return {name: _capped(each) for name, each in value.items()}
    return value
