"""Copying with one tool, measured; and with all of them in turns."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from tests.bench.lines import Route
from tests.bench.meters import Ended
from tests.bench.results import Row, Sample
from tests.bench.world import World

#: `ours`; a rival as it comes; a rival told to do as much at once as we do.
Setting = Literal["ours", "default", "parallel"]

W = TypeVar("W", bound=World)
A = TypeVar("A")

_NOTE_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class Tool(Generic[W, A]):
    """Something that copies artifacts from one end of a route to the other."""

    name: str
    setting: Setting
    copy: Callable[[W, Route, Sequence[A]], Ended]


def copied(world: W, tool: Tool[W, A], route: Route, artifacts: Sequence[A]) -> Sample:
    """Let a tool copy, and return what it took. The destination is left as it is."""
    # What was written before must not be flushed at this tool's expense.
    os.sync()
    sites = route.ends
    for site in sites:
        site.begin()
    written = [site.written_bytes for site in sites]
    services = {site.meter for site in sites}
    service_cpu = sum(meter.cpu_seconds for meter in services)
    world.server.reset_peak()
    server_cpu = world.server.cpu_seconds
    ended = tool.copy(world, route, artifacts)
    server_cpu = world.server.cpu_seconds - server_cpu
    service_cpu = sum(meter.cpu_seconds for meter in services) - service_cpu
    ours = tool.setting == "ours"
    source, destination = (site.requests() for site in sites)
    return Sample(
        seconds=ended.seconds,
        cpu_seconds=ended.cpu_seconds + (server_cpu if ours else 0),
        peak_bytes=ended.peak_bytes + (world.server.peak_bytes if ours else 0),
        source_requests=source.all,
        destination_requests=destination.all,
        read_bytes=sites[0].written_bytes - written[0],
        written_bytes=sites[1].written_bytes - written[1],
        inside_seconds=_inside_seconds(world) if ours else None,
        note=_failure(ended),
        inside_cpu_seconds=server_cpu if ours else None,
        service_cpu_seconds=service_cpu,
        changes=source.changes + destination.changes,
    )


def in_turns(
    world: W,
    tools: Sequence[Tool[W, A]],
    rounds: Iterable[Callable[[], Sequence[A]]],
    route: Route,
    say: Callable[[str], None],
    *,
    fresh: bool = True,
) -> tuple[Row, ...]:
    """Let every tool do the same work, in every round beginning with another one.

    A round says what is to be copied. With `fresh` the destination is emptied before
    each run.
    """
    samples: dict[str, list[Sample]] = {tool.name: [] for tool in tools}
    for number, make in enumerate(rounds):
        artifacts = make()
        first = number % len(tools)
        for tool in (*tools[first:], *tools[:first]):
            if fresh:
                route.ends[1].empty()
            sample = copied(world, tool, route, artifacts)
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
