"""Where an audit log lies, and where the files lie that it was before."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path


def default_audit_log() -> Path:
    """Return `$XDG_STATE_HOME/imgctl/audit.jsonl`, as the XDG base directory spec says."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "imgctl" / "audit.jsonl"


def rotated(path: Path, last_seq: int) -> Path:
    """Return the name that a full file gets: `audit.000000001234.jsonl`, by its last record.

    Names of one log sort from the oldest file to the newest.
    """
    return path.with_name(f"{path.stem}.{last_seq:012d}{path.suffix}")


def siblings(path: Path) -> Iterator[Path]:
    """Yield the files beside a log that may be what it was before, whoever moved them.

    Of `audit.jsonl` these are `audit.jsonl.1`, `audit.jsonl-20261001`, `audit.1.jsonl` and
    the like, and not `audit-other.jsonl`, which may be another server's.
    """
    after, between = re.escape(path.name), (re.escape(path.stem), re.escape(path.suffix))
    before = re.compile(rf"{after}[.-].+|{between[0]}[.-][0-9]+{between[1]}")
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:
        return
    for other in beside:
        if before.fullmatch(other.name) and _is_file(other):
            yield other


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
