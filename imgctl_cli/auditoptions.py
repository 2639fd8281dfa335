"""What may be written for a time, an event and a hash where an audit log is looked at."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from imgctl_core.audit.events import EVENTS
from imgctl_core.suggest import nearest

_AGE: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FAMILIES: Final = frozenset(f"{event.partition('.')[0]}.*" for event in EVENTS)


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Read a date, a time or an age such as `2h`. What names no zone is UTC."""
    if value is None:
        return None
    text = value.strip()
    try:
        if age := _AGE.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        read = datetime.fromisoformat(text)
        # In UTC at once: what has no such time there could not be compared later.
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no time: write 2026-10-01, 2026-10-01T08:00:00Z,"
            " '2026-10-01 08:00' (UTC), or an age such as 30m, 2h, 7d"
        ) from None


def event(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Read the name of an event, or the beginning of some with `*` after it."""
    if value is None:
        return None
    wanted = value.strip().lower()
    several = wanted.endswith("*")
    if wanted in EVENTS or (several and any(name.startswith(wanted[:-1]) for name in EVENTS)):
        return wanted
    known = _FAMILIES if several else EVENTS | _FAMILIES
    raise click.BadParameter(f"there is no event {value!r}: {nearest(wanted, known)}")


def head(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Read the hash of a record. An empty one would check nothing, and must not look as if."""
    if value is None:
        return None
    if not value.strip():
        raise click.BadParameter("it is empty, and nothing would be checked: is a variable unset?")
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise click.BadParameter(f"{value!r} is no hash of a record: it has 64 lower hex digits")
    return value
