"""What is live in an environment, what was before, and what is about to be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from imgctl_backends.spa.references import is_version
from imgctl_core.models import JSON

_SCHEMA: Final = 1
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Version:
    """A version by name. `digest` is "" where the name is all that is kept."""

    name: str
    digest: str = ""

    @property
    def prefix(self) -> str:
        return f"{self.name}/"

    def same(self, other: Version | None) -> bool:
        """Return whether both are one version with one content, as far as is known."""
        if other is None or self.name != other.name:
            return False
        return self.digest == other.digest or not (self.digest and other.digest)


@dataclass(frozen=True, slots=True)
class Record:
    """What an environment remembers.

    `pending` is a version whose activation began and did not end: it crashed, or runs.
    `activated_at` is when the last one ended, as RFC 3339 text.
    """

    live: Version | None = None
    previous: Version | None = None
    pending: Version | None = None
    activated_at: str = ""

    @property
    def back(self) -> Version | None:
        """Return what `--previous` means.

        While another version is pending, people may see it already, and the one before
        is the one whose activation was the last to end.
        """
        if self.pending is not None and self.live is not None and not _one(self.pending, self.live):
            return self.live
        return self.previous

    def begun(self, version: Version) -> Record:
        return replace(self, pending=version)

    def done(self, version: Version) -> Record:
        """Return the record for when a version is live; one made live again keeps the way back."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        again = self.live is None or _one(self.live, version)
        return Record(version, self.previous if again else self.live, None, now)

    def agrees(self, other: Record) -> bool:
        """Return whether both say the same, as far as is known."""
        pairs = (
            (self.live, other.live),
            (self.previous, other.previous),
            (self.pending, other.pending),
        )
        same = all(one.same(two) if one else two is None for one, two in pairs)
        return same and self.activated_at == other.activated_at


def _one(version: Version, other: Version) -> bool:
    return version.name == other.name


class Unreadable(ValueError):
    """The text is no record of ours."""


def to_json(record: Record) -> bytes:
    """Return a record as the object that people and programs read."""
    content: dict[str, Any] = {
        "schema_version": _SCHEMA,
        **(_fields(record.live) or dict.fromkeys(("version", "prefix", "digest"))),
        "previous": _fields(record.previous),
        "activated_at": record.activated_at or None,
    }
    if record.pending is not None:
        content["pending"] = _fields(record.pending)
    return json.dumps(content, indent=2).encode("ascii") + b"\n"


def from_json(text: bytes) -> Record:
    """Return the record in an object.

    Raises:
        Unreadable: it is not what `to_json` writes.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no JSON") from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise Unreadable("it has no schema_version")
    if content["schema_version"] != _SCHEMA:
        raise Unreadable("its schema_version is one that this release does not know")
    at = content.get("activated_at")
    if at is not None and not isinstance(at, str):
        raise Unreadable("its activated_at is no text")
    live = _version(content) if content.get("version") is not None else None
    return Record(live, _part(content, "previous"), _part(content, "pending"), at or "")


def _fields(version: Version | None) -> dict[str, str] | None:
    if version is None:
        return None
    return {"version": version.name, "prefix": version.prefix, "digest": version.digest}


def _part(content: Mapping[str, Any], name: str) -> Version | None:
    part = content.get(name)
    if part is None:
        return None
    if not isinstance(part, dict):
        raise Unreadable(f"its {name} is no version")
    return _version(part)


def _version(content: Mapping[str, Any]) -> Version:
    name, digest = content.get("version"), content.get("digest")
    if not isinstance(name, str) or not is_version(name):
        raise Unreadable("it names no version")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise Unreadable(f"it has no digest for {name}")
    return Version(name, digest)


def to_row(record: Record) -> list[JSON]:
    """Return a record as a plan carries it."""
    versions = (record.live, record.previous, record.pending)
    row: list[JSON] = [[v.name, v.digest] if v else None for v in versions]
    return [*row, record.activated_at]


def from_row(row: JSON) -> Record:
    """Return the record in a plan.

    Raises:
        ValueError: it is not what `to_row` wrote.
    """
    match row:
        case [live, previous, pending, str(at)]:
            return Record(_pair(live), _pair(previous), _pair(pending), at)
        case _:
            raise ValueError(f"it has a record that can't be read: {row!r}")


def _pair(row: JSON) -> Version | None:
    match row:
        case None:
            return None
        case [str(name), str(digest)]:
            return Version(name, digest)
        case _:
            raise ValueError(f"it has a version that can't be read: {row!r}")
