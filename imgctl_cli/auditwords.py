"""What people write to `imgctl audit`: moments and hashes, understood."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

_AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def moment(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> datetime | None:
    """Read a point in time: ISO 8601, UTC where no offset is given, or how long ago.

    Raises:
        BadParameter: it is none.
    """
    if value is None:
        return None
    try:
        return _moment(value.strip(), datetime.now(UTC))
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value[:60]!a} is no time; write it as 2026-10-01, 2026-10-01T08:00:00Z,"
            " or 2h or 7d for so long ago"
        ) from None


def chain_hash(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    """Read a record's hash; empty when none was given, and never when one was.

    Raises:
        BadParameter: it is none, as when a variable that should hold one is not set.
    """
    if value is None:
        return ""
    text = value.strip().lower()
    if not _HASH.fullmatch(text):
        raise click.BadParameter(f"{text[:80]!a} is no hash: it has 64 hexadecimal digits")
    return text


def _moment(text: str, now: datetime) -> datetime:
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
