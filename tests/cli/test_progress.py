from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from imgctl_cli.output import progress
from imgctl_cli.output.progress import BarProgress, NoProgress, PlainProgress
from imgctl_core.models import ItemProgress, ItemResult, Outcome, Phase, Progress


def at(phase: Phase, **more: Any) -> Progress:
    return Progress(phase, (ItemProgress("myapp:v1", phase, **more),))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestPlain:
    def test_a_line_for_every_phase_and_one_now_and_then(self) -> None:
        lines: list[str] = []
        clock = Clock()
        reporter = PlainProgress(lines.append, clock)
        reporter.update(at(Phase.PLAN))
        reporter.update(at(Phase.PLAN))
        reporter.update(at(Phase.STAGE, bytes_total=10_000))
        for _ in range(99):
            clock.now += 0.1
            reporter.update(at(Phase.STAGE, bytes_total=10_000, bytes_copied=4_000))
        clock.now += 0.1
        reporter.update(at(Phase.STAGE, bytes_total=10_000, bytes_copied=5_000))
        reporter.update(at(Phase.DONE, bytes_total=10_000, bytes_copied=10_000))
        reporter.stop()
        assert lines == [
            "myapp:v1  planning",
            "myapp:v1  copying  0 B moved, 0 B already there, 0 B mounted, of 10.0 kB",
            "myapp:v1  copying  4.0 kB moved, 0 B already there, 0 B mounted, of 10.0 kB",
            "myapp:v1  done  10.0 kB moved, 0 B already there, 0 B mounted, of 10.0 kB",
        ]

    def test_a_server_that_speaks_every_ten_seconds_is_heard_every_time(self) -> None:
        lines: list[str] = []
        clock = Clock()
        reporter = PlainProgress(lines.append, clock)
        for _ in range(5):
            reporter.update(at(Phase.LOCK, message="another promotion is being published"))
            clock.now += 9.98
        assert lines == ["myapp:v1  waiting its turn  another promotion is being published"] * 5

    def test_items_are_told_apart_even_with_one_name(self) -> None:
        lines: list[str] = []
        item = ItemProgress("a:1", Phase.STAGE)
        reporter = PlainProgress(lines.append, Clock())
        reporter.update(Progress(Phase.STAGE, (item, item)))
        reporter.update(Progress(Phase.STAGE, (item, ItemProgress("a:1", Phase.VERIFY))))
        assert lines == ["a:1  copying", "a:1  copying", "a:1  verifying"]

    def test_every_phase_has_a_word(self) -> None:
        lines: list[str] = []
        reporter = PlainProgress(lines.append, Clock())
        for phase in Phase:
            reporter.update(at(phase))
        assert len(set(lines)) == len(Phase)

    def test_ends_with_what_was_moved(self, promotion: Any) -> None:
        lines: list[str] = []
        reporter = PlainProgress(lines.append, Clock())
        reporter.end(promotion())
        assert lines == [
            "myapp:v1  promoted  1.0 kB moved, 2.0 kB already there, 3.0 kB mounted, of 6.0 kB"
        ]

    def test_ends_silently_when_no_byte_was_counted(self, promotion: Any) -> None:
        lines: list[str] = []
        reporter = PlainProgress(lines.append, Clock())
        reporter.end(promotion(ItemResult("a:1", "image", Outcome.UNCHANGED)))
        assert lines == []


class TestBars:
    @pytest.fixture
    def stream(self) -> io.StringIO:
        return io.StringIO()

    def shown(self, stream: io.StringIO, *updates: Progress, **console: Any) -> str:
        reporter = BarProgress(
            Console(file=stream, force_terminal=True, width=160, _environ={}, **console)
        )
        for update in updates:
            reporter.update(update)
        reporter.stop()
        return stream.getvalue()

    def test_moved_present_and_mounted_of_every_item(self, stream: io.StringIO) -> None:
        text = self.shown(
            stream,
            at(Phase.PLAN),
            at(
                Phase.STAGE,
                bytes_total=212_000_000,
                bytes_copied=33_000_000,
                bytes_present=8_000_000,
                bytes_mounted=1_000_000,
            ),
        )
        (last,) = [line for line in text.splitlines() if "copying" in line][-1:]
        assert "myapp:v1" in last
        assert "33.0 MB moved, 8.0 MB already there, 1.0 MB mounted, of 212.0 MB" in last

    def test_the_last_state_is_how_it_ended(self, stream: io.StringIO, promotion: Any) -> None:
        reporter = BarProgress(Console(file=stream, force_terminal=True, width=160, _environ={}))
        reporter.update(at(Phase.PLAN))
        reporter.end(
            promotion(
                ItemResult("a:1", "image", Outcome.PROMOTED, bytes_mounted=3_000),
                ItemResult("b:1", "image", Outcome.CONFLICT),
                outcome=Outcome.FAILED,
            )
        )
        reporter.stop()
        first, second = stream.getvalue().splitlines()[-3:-1]
        assert "a:1 promoted" in first
        assert "3.0 kB mounted" in first
        assert "b:1 conflict" in second

    def test_names_are_no_markup_and_steer_nothing(self, stream: io.StringIO) -> None:
        item = ItemProgress("[red]a[/red]\x1b[2J:1", Phase.STAGE, message="[link=x]y\u202e")
        text = self.shown(stream, Progress(Phase.STAGE, (item,)), color_system=None)
        assert "[red]a[/red]\ufffd[2J:1" in text
        assert "[link=x]y\ufffd" in text
        assert "\x1b[2J" not in text

    @pytest.mark.parametrize("width", [60, 80, 109, 110, 200])
    def test_no_number_is_cut_off_on_a_narrow_terminal(
        self, stream: io.StringIO, width: int
    ) -> None:
        reporter = BarProgress(
            Console(file=stream, force_terminal=True, width=width, color_system=None, _environ={})
        )
        reporter.update(at(Phase.STAGE, bytes_total=212_000_000, bytes_copied=33_000_000))
        reporter.stop()
        last = stream.getvalue().rsplit("\x1b[2K", 1)[1]
        assert "…" not in last
        for word in ("myapp:v1", "copying", "33.0", "already", "mounted,", "212.0"):
            assert word in last
        assert ("━" in last) == (width >= 110)

    def test_stopping_twice_is_harmless(self, stream: io.StringIO) -> None:
        reporter = BarProgress(Console(file=stream, force_terminal=True, _environ={}))
        reporter.stop()
        shown = stream.getvalue()
        reporter.stop()
        assert stream.getvalue() == shown


class TestChoice:
    @pytest.mark.parametrize(
        ("terminal", "term", "as_json", "chosen"),
        [
            (True, "xterm", False, BarProgress),
            (True, "xterm", True, BarProgress),
            (True, "dumb", False, PlainProgress),
            (True, "dumb", True, PlainProgress),
            (False, "xterm", False, PlainProgress),
            (False, "xterm", True, NoProgress),
        ],
    )
    def test_by_what_stderr_is(
        self,
        monkeypatch: pytest.MonkeyPatch,
        terminal: bool,
        term: str,
        as_json: bool,
        chosen: type,
    ) -> None:
        stderr = io.StringIO()
        monkeypatch.setattr(stderr, "isatty", lambda: terminal)
        monkeypatch.setattr("sys.stderr", stderr)
        monkeypatch.setenv("TERM", term)
        reporter = progress.choose(as_json=as_json)
        reporter.stop()
        assert type(reporter) is chosen
