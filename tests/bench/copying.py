"""Copying with one tool, measured; and with all of them in turns."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tests.bench.lines import Route
from tests.bench.meters import Ended
from tests.bench.results import Row, Sample
from tests.bench.tools import Image, Tool
from tests.bench.world import World

_NOTE_LENGTH: Final = 100


def copied(world: World, tool: Tool, route: Route, images: Sequence[Image]) -> Sample:
    """Let a tool copy images, and return what it took. The destination is left as it is."""
    # What was written before must not be flushed at this tool's expense.
    os.sync()
    sites = route.ends
    for site in sites:
        site.log.begin()
    written = [site.meter.written_bytes for site in sites]
    world.server.reset_peak()
    server_cpu = world.server.cpu_seconds
    ended = tool.copy(world, route, images)
    ours = tool.setting == "ours"
    return Sample(
        seconds=ended.seconds,
        cpu_seconds=ended.cpu_seconds + (world.server.cpu_seconds - server_cpu if ours else 0),
        peak_bytes=ended.peak_bytes + (world.server.peak_bytes if ours else 0),
        source_requests=sites[0].log.count(),
        destination_requests=sites[1].log.count(),
        read_bytes=sites[0].meter.written_bytes - written[0],
        written_bytes=sites[1].meter.written_bytes - written[1],
        inside_seconds=_inside_seconds(world) if ours else None,
        note=_failure(ended),
    )


def in_turns(
    world: World,
    tools: Sequence[Tool],
    rounds: Iterable[Callable[[], Sequence[Image]]],
    route: Route,
    say: Callable[[str], None],
    *,
    fresh: bool = True,
) -> tuple[Row, ...]:
    """Let every tool do the same work, in every round beginning with another one.

    Each round makes images of its own, which no tool has seen before. With `fresh` the
    destination is emptied before each run.
    """
    samples: dict[str, list[Sample]] = {tool.name: [] for tool in tools}
    for number, make in enumerate(rounds):
        images = make()
        first = number % len(tools)
        for tool in (*tools[first:], *tools[:first]):
            if fresh:
                route.ends[1].empty()
            sample = copied(world, tool, route, images)
            samples[tool.name].append(sample)
            say(f"  {tool.name}: {sample.seconds:.2f} s {sample.note}")
    route.ends[1].empty()
    return tuple(Row(tool.name, tool.setting, tuple(samples[tool.name])) for tool in tools)


def _inside_seconds(world: World) -> float | None:
    seconds = world.last_record().get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def _failure(ended: Ended) -> str:
    if ended.code == 0:
        return ""
    lines = ended.output.strip().splitlines() or ["no word"]
    telling = [line for line in lines if re.search(r"error|fatal|fail", line, re.IGNORECASE)]
    # What is new in every run, addresses and sessions, says nothing to a reader.
    said = re.sub(r"\S*(?:127\.0\.0\.1|time=)\S*", "…", (telling or lines)[-1])
    return f"failed ({ended.code}): {said[:_NOTE_LENGTH]}"
