"""Ids that people copy and paste: sortable by time, unguessable, without look-alikes."""

from __future__ import annotations

import secrets
import time

#: Crockford's base 32: no I, L, O or U.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_promotion_id() -> str:
    """Return `pr_` and a ULID: 48 bits of milliseconds, 80 random bits."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "pr_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def new_incident_id() -> str:
    """Return `in_` and 40 random bits: names one line of the server's log."""
    number = secrets.randbits(40)
    return "in_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))
