"""The works of part `spa`: what is copied, over which line, and what is to be reached."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tests.bench.copying import copied, in_turns
from tests.bench.lines import LATENCY_MS, Route
from tests.bench.results import MB, Check, Row, Sample, WorkResult, cpu, ratio_check, seconds
from tests.bench.spa.builds import FILE_BYTES, Build
from tests.bench.spa.tools import (
    AWS,
    IMGCTL,
    IMGCTL_PLAN,
    IMGCTL_QUICK,
    RCLONE,
    RIVALS,
    S5CMD,
    SpaTool,
)
from tests.bench.spa.world import SpaWorld
from tests.bench.work import Bench

_FILES: Final = 2001
_FEW: Final = 2_000
_MANY: Final = 20_000
_COPIES: Final = 20_001
_MILLION: Final = 1_000_000
#: Seconds that one copy may take: 2,500 copies a second.
_PER_COPY_MS: Final = 0.4

_VERIFIED: Final = (
    "imgctl reads the destination again and compares; the others end with their last copy."
)
_STUB: Final = "Against a stub of S3 that answers at once, on the same cores."
_COUNTED: Final = "The stub counts, from the first copy of an asset asked for to the last one made."
_FAR: Final = f"Between all tools and S3 {LATENCY_MS} ms each way."


class SpaBench(Bench[SpaWorld]):
    """Makes what the works of this part copy."""

    def files(self, number: int) -> int:
        """Return how many files stand for that many."""
        return max(2, round(number * self.scale))

    def once(self, build: Build) -> Sequence[Callable[[], Sequence[Build]]]:
        """Return the rounds in which one build is copied over and over."""
        return [lambda: (build,)] * self.runs


def files(bench: SpaBench) -> WorkResult:
    load = os.getloadavg()[0]
    rows = _raced(bench, bench.world.near)
    s5cmd = _row(rows, S5CMD)
    checks = (
        *_walls(rows),
        ratio_check(rows[0], s5cmd, cpu, 0.4, "CPU of client and server, against s5cmd's"),
    )
    return bench.result("files", _about(bench), rows, checks, load, _VERIFIED)


def far_files(bench: SpaBench) -> WorkResult:
    load = os.getloadavg()[0]
    rows = _raced(bench, bench.world.far)
    title = f"{_about(bench)}, far"
    return bench.result("far-files", title, rows, _walls(rows), load, _FAR, _VERIFIED)


def _raced(bench: SpaBench, route: Route) -> tuple[Row, ...]:
    build = bench.world.build(bench.files(_FILES))
    return in_turns(bench.world, (IMGCTL, *RIVALS), bench.once(build), route, bench.say)


def _about(bench: SpaBench) -> str:
    return f"{bench.files(_FILES):,} files of {FILE_BYTES // 1024} KiB"


def _walls(rows: Sequence[Row]) -> tuple[Check, ...]:
    limits = ((S5CMD, 0.65), (AWS, 0.25), (RCLONE, 0.65))
    return tuple(
        ratio_check(rows[0], _row(rows, tool), seconds, limit, f"wall, against {tool.name}")
        for tool, limit in limits
    )


def _row(rows: Sequence[Row], tool: SpaTool) -> Row:
    (row,) = (row for row in rows if row.tool == tool.name)
    return row


def same(bench: SpaBench) -> WorkResult:
    load = os.getloadavg()[0]
    world = bench.world
    build = world.build(bench.files(_FILES))
    before = copied(world, IMGCTL, world.near, (build,))
    if before.note:
        raise RuntimeError(f"nothing is there to be the same: {before.note}")
    # rclone would copy all of it again, for the times that it keeps in metadata.
    tools = (IMGCTL, S5CMD, AWS)
    rows = in_turns(world, tools, bench.once(build), world.near, bench.say, fresh=False)
    ours = rows[0]
    changes = sum(sample.changes for sample in ours.samples)
    checks = (
        ratio_check(ours, _row(rows, S5CMD), seconds, 1.0, "wall, against s5cmd sync"),
        Check(
            "requests of ours that change something",
            f"{changes} of {sum(sample.destination_requests for sample in ours.samples)}",
            f"{build.files:,} files, {len(ours.samples)} runs",
            None if ours.notes else changes,
            0,
        ),
    )
    return bench.result("same", f"{_about(bench)}, unchanged", rows, checks, load)


def copies(bench: SpaBench) -> WorkResult:
    load = os.getloadavg()[0]
    world = bench.world
    build = Build(f"{bench.files(_COPIES)}-copies", bench.files(_COPIES))
    samples, took = [], []
    for _ in range(bench.runs):
        world.quick.ends[1].empty()
        sample = copied(world, IMGCTL_QUICK, world.quick, (build,))
        told = world.stub.tell("report")
        if not sample.note and told["copies"] != build.files - 1:
            sample = replace(sample, note=f"{told['copies']} copies of assets reached the stub")
        bench.say(f"  {told['copies']} copies in {told['copy_seconds']:.2f} s {sample.note}")
        samples.append(sample)
        took.append(told["copy_seconds"])
    row = Row(IMGCTL.name, IMGCTL.setting, tuple(samples))
    each = statistics.median(took) / (build.files - 1)
    check = Check(
        "time for one of the copies, which go many at once",
        f"{1 / each:,.0f} copies a second",
        f"{1000 / _PER_COPY_MS:,.0f} a second",
        None if row.notes else each * 1000,
        _PER_COPY_MS,
        " ms",
    )
    title = f"{build.files:,} copies by a service that takes no time"
    return bench.result("copies", title, (row,), (check,), load, _STUB, _COUNTED)


def many_files(bench: SpaBench) -> WorkResult:
    load = os.getloadavg()[0]
    world = bench.world
    builds = [world.build(bench.files(number)) for number in (_FEW, _MANY)]
    samples: dict[Build, list[Sample]] = {build: [] for build in builds}
    for number in range(bench.runs):
        for build in builds if number % 2 == 0 else reversed(builds):
            world.destination.empty()
            sample = copied(world, IMGCTL, world.near, (build,))
            bench.say(f"  {build.files:,} files: {sample.seconds:.2f} s {sample.note}")
            samples[build].append(sample)
    few, many = (
        Row(f"{IMGCTL.name}, {build.files:,} files", IMGCTL.setting, tuple(samples[build]))
        for build in builds
    )
    each_of_few, each_of_many = (
        row.median(seconds) / build.files * 1000
        for row, build in zip((few, many), builds, strict=True)
    )
    check = Check(
        f"wall for a file of {builds[1].files:,}",
        f"{each_of_many:.2f} ms",
        f"{each_of_few:.2f} ms for one of {builds[0].files:,}",
        None if few.notes or many.notes else each_of_many / each_of_few,
        1.1,
    )
    title = f"{builds[1].files:,} files of {FILE_BYTES // 1024} KiB"
    return bench.result("many-files", title, (few, many), (check,), load, timed=False)


def million(bench: SpaBench) -> WorkResult:
    load = os.getloadavg()[0]
    world = bench.world
    build = Build(f"{bench.files(_MILLION)}-million", bench.files(_MILLION))
    world.quick.ends[1].empty()
    sample = copied(world, IMGCTL_PLAN, world.quick, (build,))
    over = (world.server.peak_bytes - world.idle_bytes) / MB
    bench.say(f"  {sample.seconds:.2f} s {sample.note}")
    row = Row(f"{IMGCTL_PLAN.name}, {build.files:,} files", IMGCTL_PLAN.setting, (sample,))
    check = Check(
        "server's peak memory over idle",
        f"{over:.0f} MB in {sample.seconds:.0f} s",
        f"{world.idle_bytes / MB:.0f} MB idle",
        None if row.notes else over,
        1000,
        " MB",
    )
    title = f"the plan for {build.files:,} files"
    return bench.result("million", title, (row,), (check,), load, _STUB, timed=False)


#: In the order in which they run.
WORKS: Final[Mapping[str, Callable[[SpaBench], WorkResult]]] = {
    "files": files,
    "far-files": far_files,
    "same": same,
    "many-files": many_files,
    "copies": copies,
    "million": million,
}
