"""What the benchmark makes of its samples."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.meters import run
from tests.bench.page import save
from tests.bench.results import (
    Check,
    PartResult,
    Row,
    Sample,
    WorkResult,
    ratio_check,
    seconds,
    wall_check,
)


def row(tool: str, *times: float, setting: str = "default", note: str = "") -> Row:
    samples = [Sample(time, time / 2, 1_000_000, 3, 4, 5_000_000, 0, None, note) for time in times]
    return Row(tool, setting, tuple(samples))


def work(key: str, *checks: Check) -> WorkResult:
    rows = (row("imgctl", 1.0, setting="ours"), row("crane", 2.0))
    return WorkResult(key, f"title of {key}", rows, checks, "today", 0.5)


def test_the_fastest_rival_that_did_the_work_counts() -> None:
    rows = (
        row("imgctl", 1.0, 9.0, 2.0, setting="ours"),
        row("slow", 8.0),
        row("good", 4.0, 3.0, 5.0),
        row("broken", 0.1, note="failed (1)"),
        row("parallel", 1.0, setting="parallel"),
    )
    check = wall_check(rows, "default", 0.5, "wall")
    assert check.against == "good 4.00 s"
    assert check.value == 0.5
    assert check.reached
    assert not wall_check(rows, "parallel", 1.9, "wall").reached


def test_nothing_is_reached_by_failing() -> None:
    ours = row("imgctl", 0.1, setting="ours", note="failed (1)")
    assert not ratio_check(ours, row("crane", 2.0), seconds, 1.0, "wall").reached
    able = row("imgctl", 0.1, setting="ours")
    assert not wall_check([able, row("crane", 1, note="failed")], "default", 1.0, "wall").reached


def test_the_page_keeps_what_was_not_measured(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    save(page, "image", "Images", PartResult({"CPU": "one"}, {"a": work("a"), "b": work("b")}))
    save(page, "start", "Start", PartResult({}, {"s": work("s")}))
    page.write_text(page.read_text().replace("# Benchmarks", "# Benchmarks, by hand"))
    missed = Check("wall", "1 s", "crane 2 s", 0.9, 0.85)
    save(page, "image", "Images", PartResult({"CPU": "two"}, {"b": work("b", missed)}))
    text = page.read_text()
    assert text.startswith("# Benchmarks, by hand")
    for title in ("title of a", "title of b", "title of s"):
        assert text.count(f"### {title}") == 1
    assert "| title of b: wall | 1 s | crane 2 s | 0.90 | ≤ 0.85 | **missed** |" in text
    assert "CPU: two." in text
    assert "CPU: one." not in text


def test_columns_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    save(page, "image", "Images", PartResult({}, {"a": work("a")}))
    assert "MB read" in page.read_text()
    assert "MB written" not in page.read_text()
    assert "| crane | 2.00 (2.00–2.00) | 0.50 | 1.00 | 1 | 3 | 4 | 5.0 |" in page.read_text()


def test_a_command_is_measured_alone() -> None:
    burn = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    ended = run([sys.executable, "-S", "-c", burn], {}, 30)
    assert ended.code == 0
    assert 0.2 <= ended.cpu_seconds <= 2
    assert ended.seconds >= 0.2
    # Not that of this process, which is several times as large.
    assert 1_000_000 < ended.peak_bytes < 40_000_000


def test_a_command_that_does_not_end_is_killed() -> None:
    ended = run([sys.executable, "-S", "-c", "import time; time.sleep(60)"], {}, 0.2)
    assert ended.code == -9
    assert "not ready in 0.2 s" in ended.output


def test_how_a_command_failed() -> None:
    ended = run([sys.executable, "-S", "-c", "raise SystemExit('oh no')"], {}, 30)
    assert (ended.code, ended.output.strip()) == (1, "oh no")
