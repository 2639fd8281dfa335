"""Where an audit log lies, and where the files lie that it was before."""

from __future__ import annotations

import os
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
    """Yield the files beside a log that may be what it was before, whoever moved them."""
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:
        return
    for other in beside:
        if other.name != path.name and other.name.startswith(path.stem) and _is_file(other):
            yield other


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
