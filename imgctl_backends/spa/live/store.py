"""Where an environment remembers what is live: compared and swapped, never overwritten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from imgctl_backends.spa.live.record import Record
from imgctl_core import Context
from imgctl_core.errors import Conflict


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as it was read. `tag` is the entity tag that a write must still meet."""

    record: Record
    tag: str = ""


class Store(Protocol):
    """One place that holds one record."""

    @property
    def where(self) -> str:
        """Where it is, as one word for people."""
        ...

    def read(self, context: Context) -> Seen:
        """Return what is there, an empty record for nothing.

        Raises:
            EndpointFailed: something is there that imgctl did not write.
            ImgctlError: it can't be read.
        """
        ...

    def write(self, record: Record, over: Seen, context: Context) -> Seen:
        """Put a record in the place of the one that was seen. Never cut short by a cancel.

        Raises:
            Conflict: another one is there by now.
            ImgctlError: it can't be written.
        """
        ...


def overtaken(where: str, environment: str) -> Conflict:
    return Conflict(
        f"somebody else made something live in {environment} meanwhile: {where} changed",
        fix="look what is live now, then run the same command again",
    )
