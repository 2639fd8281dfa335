"""When to try again, and how long to wait before."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.wire.faults import Fault, Interrupted, Renewed, TrustFault, WrongBytes
from imgctl_backends.image.wire.flight import Flight

#: HTTP answers that say "later": distribution-spec and RFC 6585 for 429, RFC 9110 else.
RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})

_FIRST_SECONDS: Final = 0.2
_LONGEST_SECONDS: Final = 10.0

#: What seldom changes within seconds is tried this often: nobody there, wrong bytes.
_FEW: Final = 3


class Retry:
    """The attempts at one piece of work: bounded in number and in time, with full jitter.

    The time runs from the first fault, so that a copy may last for hours; `progress`
    begins both anew.
    """

    def __init__(self, flight: Flight, settings: ImageSettings) -> None:
        self._flight = flight
        self._attempts = settings.attempts
        self._seconds = settings.retry_seconds
        self._until: float | None = None
        self._failed = 0

    def progress(self) -> None:
        """So much was achieved since the last fault that the next one is the first."""
        self._until = None
        self._failed = 0

    def again(self, fault: Fault) -> bool:
        """Count a fault, and wait until it is time for another attempt.

        Returns False when there should be none.

        Raises:
            Cancelled, DeadlineExceeded, Abandoned: while waiting.
        """
        self._flight.check()
        self._failed += 1
        if self._until is None:
            self._until = time.monotonic() + self._seconds
        few = fault.lasting or isinstance(fault, WrongBytes)
        if isinstance(fault, TrustFault) or self._failed >= (
            min(_FEW, self._attempts) if few else self._attempts
        ):
            return False
        asked = retry_after(fault.retry_after) if isinstance(fault, Interrupted) else None
        longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0**self._failed)
        seconds = asked if asked is not None else random.uniform(0, longest)  # noqa: S311
        if isinstance(fault, Renewed):
            seconds = 0.0
        if time.monotonic() + seconds > self._until:
            return False
        self._flight.pause(seconds)
        return True


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its forms."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
