"""What the steps of one promotion leave for the next ones, to save them work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from imgctl_backends.spa.copying.copy import Copied, Copier
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.compare import Comparison
from imgctl_core import Context

#: Seconds for which what was seen at the destination is taken for true. Every write is
#: guarded on its own besides; after a pause, as when other items of a release take
#: their time, the destination is looked at again.
_FRESH: Final = 10.0


@dataclass(slots=True)
class Trail:
    """What is known of one promotion. Everything in it can be found out again.

    `seen` is what the destination held at the last look of all files, `written` what
    was copied since, `copier` what copies, once a first copy showed that it may.
    """

    files: Sequence[File] = ()
    hidden: Sequence[File] = ()
    entries: Sequence[File] = ()
    seen: Comparison | None = None
    seen_at: float = float("-inf")
    written: dict[str, Copied] = field(default_factory=dict)
    copier: Copier | None = None

    @classmethod
    def of(cls, context: Context) -> Trail:
        """Return the trail of the promotion at hand."""
        trail = context.scratch.setdefault("spa", cls())
        assert isinstance(trail, cls)  # noqa: S101 - the scratch is ours alone
        return trail

    def begin(self, files: Sequence[File], order: Order) -> None:
        """Take the files of a plan, and forget what an earlier plan left."""
        self.files = files
        self.hidden, self.entries = order.split(files)
        self.seen, self.seen_at = None, float("-inf")
        self.written.clear()

    def saw(self, seen: Comparison | None = None) -> None:
        """Note that the destination has just been looked at."""
        self.seen, self.seen_at = seen or self.seen, time.monotonic()

    @property
    def fresh(self) -> bool:
        """Whether the last look is so recent that another one would tell nothing new."""
        return time.monotonic() - self.seen_at < _FRESH
