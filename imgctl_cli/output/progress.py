"""How far a promotion has come, on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import click

from imgctl_cli.display import clean, size
from imgctl_core.models import ItemProgress, Phase, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

#: A plain line comes after this many seconds without one. Servers speak at least every
#: ten: a little less, so that their word is never just too early.
_QUIET: Final = 9.5

_WORDS: Final = {
    Phase.PLAN: "planning",
    Phase.LOCK: "waiting its turn",
    Phase.STAGE: "copying",
    Phase.PUBLISH: "publishing",
    Phase.VERIFY: "verifying",
    Phase.DONE: "done",
}


class Reporter(Protocol):
    """Shows progress until it is stopped."""

    def update(self, progress: Progress) -> None: ...

    def stop(self) -> None: ...


def choose(*, as_json: bool) -> Reporter:
    """Return the reporter that fits stderr.

    With JSON output, stderr that is no terminal belongs to a machine, which expects one
    error object there or nothing.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        return BarProgress(Console(stderr=True))
    return NoProgress() if as_json and not sys.stderr.isatty() else PlainProgress()


class NoProgress:
    """Says nothing."""

    def update(self, progress: Progress) -> None:
        pass

    def stop(self) -> None:
        pass


class PlainProgress:
    """A line for every change of phase, and one now and then in between."""

    def __init__(
        self,
        write: Callable[[str], None] = lambda line: click.echo(line, err=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._last: dict[int, tuple[Phase, float]] = {}

    def update(self, progress: Progress) -> None:
        now = self._clock()
        for index, item in enumerate(progress.items):
            phase, since = self._last.get(index, (None, now))
            if phase is not item.phase or now - since >= _QUIET:
                self._last[index] = (item.phase, now)
                self._write(_line(item))

    def stop(self) -> None:
        pass


class BarProgress:
    """A bar for every item, kept up to date in place."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            # What people named is text, never rich's markup.
            TextColumn("{task.fields[ref]}", markup=False),
            TextColumn("{task.fields[word]}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=console,
        )
        self._tasks: dict[int, TaskID] = {}
        self._bars.start()

    def update(self, progress: Progress) -> None:
        for index, item in enumerate(progress.items):
            if index not in self._tasks:
                self._tasks[index] = self._bars.add_task("", ref="", word="", numbers="")
            self._bars.update(
                self._tasks[index],
                # Without a total rich shows a bar that moves; nothing to do is a full one.
                total=item.bytes_total or (1 if item.phase is Phase.DONE else None),
                completed=_accounted(item) or (1 if item.phase is Phase.DONE else 0),
                ref=clean(item.text),
                word=_WORDS[item.phase],
                numbers=numbers(item),
            )

    def stop(self) -> None:
        self._bars.stop()


def numbers(item: ItemProgress) -> str:
    """Return an item's bytes for people, and its promoter's last word."""
    parts = []
    if item.bytes_total or _accounted(item):
        parts.append(
            f"{size(item.bytes_copied)} moved, {size(item.bytes_present)} already there, "
            f"{size(item.bytes_mounted)} mounted, of {size(item.bytes_total)}"
        )
    if item.message:
        parts.append(clean(item.message))
    return "  ".join(parts)


def _accounted(item: ItemProgress) -> int:
    return item.bytes_copied + item.bytes_present + item.bytes_mounted


def _line(item: ItemProgress) -> str:
    return "  ".join(part for part in (clean(item.text), _WORDS[item.phase], numbers(item)) if part)
