"""The page: a part of docs/benchmarks.md for each part, and all samples beside it as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final

from tests.bench.results import (
    MB,
    Check,
    PartResult,
    Row,
    WorkResult,
    from_json,
    seconds,
    to_json,
)

_HEADER: Final = (
    "tool",
    "wall, s (least–most)",
    "ours ÷ it",
    "CPU, s",
    "peak memory, MB",
    "CPU of the service, s",
    "requests at the source",
    "at the destination",
    "of them changes",
    "MB read",
    "MB written",
    "",
)

_HEAD: Final = """# Benchmarks

Written by `make bench`. `make bench PART=start`, `auth`, `image` or `spa` measures one part, and
`WORK=files` one work of it; the programs come from `make peers`. Every table is of one run on
one machine, in which all tools took turns; medians are compared, because another machine changes
all times but hardly their ratios. "The service" is the registries or the S3 server, whose CPU is
not in that of the tools. How the programs were called stands in `tests/bench/`, every single
sample in [benchmarks.json](benchmarks.json).
"""


def save(page: Path, part: str, title: str, result: PartResult) -> PartResult:
    """Put results into the page and its JSON, and return all that are known of the part.

    Works that were not measured now stay as they were, and so does everything outside
    the part's two markers.
    """
    store = page.with_suffix(".json")
    known = json.loads(store.read_text("utf-8")) if store.exists() else {}
    before = from_json(known[part]).works if part in known else {}
    whole = PartResult(result.machine, {**before, **result.works})
    known[part] = to_json(whole)
    store.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    text = page.read_text("utf-8") if page.exists() else _HEAD
    page.write_text(_replaced(text, part, f"\n## {title}\n\n{_render(whole)}\n"), "utf-8")
    return whole


def _replaced(text: str, part: str, content: str) -> str:
    begin, end = f"<!-- bench {part}: begin -->", f"<!-- bench {part}: end -->"
    section = f"{begin}\n{content}\n{end}"
    found = re.search(f"{re.escape(begin)}.*?{re.escape(end)}", text, re.DOTALL)
    if found is None:
        return f"{text.rstrip()}\n\n{section}\n"
    return text[: found.start()] + section + text[found.end() :]


def machine() -> dict[str, str]:
    """Describe this machine and its Python."""
    cpuinfo = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "CPU": f"{model[1] if model else platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} cores for clients, servers and registries together",
        "memory": f"{memory / 1e9:.0f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def show(work: WorkResult) -> str:
    """Return a work's tables as text."""
    return "\n".join(_work(work))


def _render(part: PartResult) -> str:
    lines = [
        "| work | ours | against | ratio | reach | |",
        "|---|---|---|---|---|---|",
        *(_check(work, check) for work in part.works.values() for check in work.checks),
        "",
        "; ".join(f"{name}: {value}" for name, value in part.machine.items()) + ".",
    ]
    for work in part.works.values():
        lines += ["", *_work(work)]
    return "\n".join(lines)


def _check(work: WorkResult, check: Check) -> str:
    verdict = "reached" if check.reached else "**missed**"
    return (
        f"| {work.title}: {check.what} | {check.ours} | {check.against} | {_value(check)} "
        f"| ≤ {check.limit:g}{check.unit} | {verdict} |"
    )


def _work(work: WorkResult) -> Iterator[str]:
    yield f"### {work.title}"
    yield ""
    yield (
        f"{work.when}, {max(len(row.samples) for row in work.rows)} runs each, load before it "
        f"{work.load:.1f}."
    )
    yield from work.remarks
    yield ""
    yield from _table([_HEADER, *_rows(work)])
    yield ""
    for check in work.checks:
        verdict = "reached" if check.reached else "MISSED"
        yield (
            f"- {verdict}: {check.what}: {check.ours}, against {check.against}: "
            f"{_value(check)}, at most {check.limit:g}{check.unit}"
        )


def _rows(work: WorkResult) -> Iterator[tuple[str, ...]]:
    ours = work.rows[0]
    for row in work.rows:
        median = row.median(seconds)
        # Whoever failed did less, so it can't be compared.
        alone = not work.timed or row is ours or row.notes
        ratio = "" if alone else f"{ours.median(seconds) / median:.2f}"
        yield (
            row.tool,
            _spread(row, "seconds"),
            ratio,
            f"{_median(row, 'cpu_seconds'):.2f}",
            f"{_median(row, 'peak_bytes') / MB:.0f}",
            f"{_median(row, 'service_cpu_seconds'):.2f}",
            f"{_median(row, 'source_requests'):.0f}",
            f"{_median(row, 'destination_requests'):.0f}",
            f"{_median(row, 'changes'):.0f}",
            f"{_median(row, 'read_bytes') / MB:.1f}",
            f"{_median(row, 'written_bytes') / MB:.1f}",
            row.notes.replace("|", "/"),
        )
        yield from _inside(row)


def _inside(row: Row) -> Iterator[tuple[str, ...]]:
    samples = row.samples
    wall = all(sample.inside_seconds is not None for sample in samples)
    used = all(sample.inside_cpu_seconds is not None for sample in samples)
    if wall or used:
        yield (
            "– of it inside the server",
            _spread(row, "inside_seconds") if wall else "",
            "",
            f"{_median(row, 'inside_cpu_seconds'):.2f}" if used else "",
            *[""] * (len(_HEADER) - 4),
        )


def _table(lines: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table, without the columns that say nothing."""
    saying = [
        column
        for column in range(len(lines[0]))
        if column == 0 or any(line[column].strip("0.") for line in lines[1:])
    ]
    for number, line in enumerate(lines):
        yield f"| {' | '.join(line[column] for column in saying)} |"
        if number == 0:
            yield "|---" * len(saying) + "|"


def _spread(row: Row, name: str) -> str:
    median, least, most = row.of(attrgetter(name))
    return f"{median:.2f} ({least:.2f}–{most:.2f})"


def _median(row: Row, name: str) -> float:
    return row.median(attrgetter(name))


def _value(check: Check) -> str:
    return "–" if check.value is None else f"{check.value:.2f}{check.unit}"
