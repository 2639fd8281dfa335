"""How a file of an audit log ends, and in which one of them its last record is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imgctl_core.audit.chain import Link, parse
from imgctl_core.audit.places import siblings
from imgctl_core.models import JSON

#: How far back from the end the last record is looked for at first; four times as far
#: each time that it isn't there.
_TAIL: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Tail:
    """How a file ends: its last record's place in the chain, and what a crash left after it.

    `torn` is None when nothing was left: mostly it is a part of a line, and of two where
    one crash followed another. `open` says that the last line has no end yet.
    """

    link: Link | None
    torn: bytes | None = None
    open: bool = False

    @property
    def torn_sha256(self) -> str:
        return hashlib.sha256(self.torn or b"").hexdigest()


def tail_of(fd: int) -> Tail:
    """Return how an open file ends."""
    size, length = os.fstat(fd).st_size, _TAIL
    while True:
        start = max(0, size - length)
        *lines, rest = os.pread(fd, length, start).split(b"\n")
        # The first line may have begun before.
        tail = _tail(lines if start == 0 else lines[1:], rest)
        if tail.link is not None or start == 0:
            return tail
        length *= 4


def _tail(lines: list[bytes], rest: bytes) -> Tail:
    """Return how whole lines end, and the rest of one after them."""
    torn = [rest] if rest else []
    if (record := parse(rest)) is None:
        while lines and (record := parse(lines[-1])) is None:
            torn.append(lines.pop())
    link = None if record is None else link_of(record)
    return Tail(link, b"\n".join(reversed(torn)) if torn else None, open=bool(rest))


def link_of(record: Mapping[str, JSON]) -> Link:
    """Return where a chain stands with a record that `parse` found."""
    return Link(int(str(record["seq"])), str(record["hash"]))


def last_of(path: Path, tail: Tail) -> tuple[Link, Path]:
    """Return the place of a log's last record, and the file that it is in.

    It is in a file beside the log when that was moved away while no server ran, or as one
    was cut off.
    """
    if tail.link is not None:
        return tail.link, path
    beside = [(link, other) for other in siblings(path) if (link := _last_link(other))]
    return max(beside, key=lambda each: each[0].seq, default=(Link(), path))


def _last_link(path: Path) -> Link | None:
    """Return the place of a file's last record in its chain, None when it has none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return tail_of(fd).link
    except OSError:
        return None
    finally:
        os.close(fd)
