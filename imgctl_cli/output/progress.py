"""How far a promotion has come, on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import click

from imgctl_cli.display import size
from imgctl_core.models import ItemProgress, ItemResult, Phase, Progress, Promotion
from imgctl_core.text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

#: A plain line comes after this many seconds without one. Servers speak at least every
#: ten: a little less, so that their word is never just too early.
_QUIET: Final = 9.5

#: On a terminal with fewer columns the numbers need the place of the bar.
_ROOM_FOR_BARS: Final = 110

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

    def end(self, promotion: Promotion) -> None:
        """Show the last state: progress that was fast may never have been heard of."""

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

    def end(self, promotion: Promotion) -> None:
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
                self._write(_line(item, _WORDS[item.phase]))

    def end(self, promotion: Promotion) -> None:
        for result in promotion.items:
            item = _last(result)
            if _accounted(item):
                self._write(_line(item, _ended(result)))

    def stop(self) -> None:
        pass


class BarProgress:
    """A bar for every item, kept up to date in place."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, ProgressColumn, TextColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        def text(name: str) -> ProgressColumn:
            # What people named is text, never rich's markup; and none of it is cut off.
            whole = Column(no_wrap=False, overflow="fold")
            return TextColumn(f"{{task.fields[{name}]}}", markup=False, table_column=whole)

        bar: list[ProgressColumn] = [BarColumn(20)] if console.width >= _ROOM_FOR_BARS else []
        self._bars = Bars(text("ref"), text("word"), *bar, text("numbers"), console=console)
        self._tasks: dict[int, TaskID] = {}
        self._bars.start()

    def update(self, progress: Progress) -> None:
        for index, item in enumerate(progress.items):
            # Without a total rich shows a bar that moves.
            total = item.bytes_total or None
            self._show(index, item, _WORDS[item.phase], total, _accounted(item))

    def end(self, promotion: Promotion) -> None:
        for index, result in enumerate(promotion.items):
            item = _last(result)
            # A full bar for what is there, even when that took not one byte.
            good = result.outcome is not None and result.outcome.good
            self._show(index, item, _ended(result), 1.0, 1.0 if good else 0.0)

    def _show(
        self, index: int, item: ItemProgress, word: str, total: float | None, completed: float
    ) -> None:
        if index not in self._tasks:
            self._tasks[index] = self._bars.add_task("", ref="", word="", numbers="")
        self._bars.update(
            self._tasks[index],
            total=total,
            completed=completed,
            ref=one_line(item.text),
            word=word,
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
        parts.append(one_line(item.message))
    return "  ".join(parts)


def _accounted(item: ItemProgress) -> int:
    return item.bytes_copied + item.bytes_present + item.bytes_mounted


def _line(item: ItemProgress, word: str) -> str:
    return "  ".join(part for part in (one_line(item.text), word, numbers(item)) if part)


def _last(result: ItemResult) -> ItemProgress:
    counts = (result.bytes_copied, result.bytes_present, result.bytes_mounted)
    return ItemProgress(result.text, Phase.DONE, sum(counts), *counts)


def _ended(result: ItemResult) -> str:
    return result.outcome.value if result.outcome else "running"
