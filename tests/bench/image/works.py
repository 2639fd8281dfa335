"""The works of part `image`: what is copied, over which line, and what is to be reached."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Final

from imgctl_core.testing.httpd import Fault
from tests.bench.copying import copied, in_turns
from tests.bench.image.tools import (
    CRANE,
    FLEET_RIVALS,
    IMGCTL,
    REGSYNC,
    RIVALS,
    Image,
    ImageTool,
)
from tests.bench.image.world import ImageWorld
from tests.bench.lines import LATENCY_MS, RATE_KB, Route
from tests.bench.results import (
    MB,
    Check,
    Row,
    Sample,
    WorkResult,
    cpu,
    ratio_check,
    seconds,
    wall_check,
)
from tests.bench.work import Bench

_NEAR: Final = "Registries as they come: they speak HTTP/2 with whoever does."

#: What "far" means, for readers of the tables.
_FAR: Final = (
    f"Between us and both registries {LATENCY_MS} ms each way and {RATE_KB // 1000} MB/s for each "
    "connection to the destination; over HTTP/1.1, so that a connection is an upload."
)
_SHARED: Final = (30, 20, 5)
_OWN: Final = 3.5
_FLEET: Final = 30
_SHAPE: Final = (
    f"{_FLEET} repositories; layers of {', '.join(map(str, _SHARED))} MB that all share, and "
    f"{_OWN} MB of each one's own."
)


class ImageBench(Bench[ImageWorld]):
    """Makes what the works of this part copy."""

    def bytes(self, megabytes: float) -> int:
        return max(1000, int(megabytes * MB * self.scale))

    def image(
        self, route: Route, repository: str, sizes: Sequence[float], tag: str
    ) -> Sequence[Image]:
        with closing(self.world.loader(route)) as loader:
            layers = [loader.layer(repository, self.bytes(size)) for size in sizes]
            loader.image(repository, tag, layers)
        return (Image(repository, tag, tuple(layer["digest"] for layer in layers)),)

    def fleet(self, tag: str) -> Sequence[Image]:
        images = []
        with closing(self.world.loader(self.world.far)) as loader:
            shared = [loader.layer("fleet/base", self.bytes(size)) for size in _SHARED]
            for number in range(_FLEET):
                repository = f"fleet/app-{number + 1:02}"
                for layer in shared:
                    loader.share(repository, layer, "fleet/base")
                own = loader.layer(repository, self.bytes(_OWN))
                loader.image(repository, tag, [*shared, own])
                images.append(Image(repository, tag))
        return images


def large(bench: ImageBench) -> WorkResult:
    load = os.getloadavg()[0]
    make = partial(bench.image, bench.world.near, "large", [64] * 8)
    rows = in_turns(bench.world, (IMGCTL, *RIVALS), bench.rounds(make), bench.world.near, bench.say)
    crane = next(row for row in rows if row.tool == CRANE.name)
    checks = (
        wall_check(rows, "default", 0.85, "wall, against the best"),
        ratio_check(rows[0], crane, cpu, 1.0, "CPU of client and server, against crane's"),
    )
    return bench.result("large", "8 × 64 MB", rows, checks, load, _NEAR)


def small(bench: ImageBench) -> WorkResult:
    load = os.getloadavg()[0]
    make = partial(bench.image, bench.world.far, "small", [0.5] * 20)
    rows = in_turns(bench.world, (IMGCTL, *RIVALS), bench.rounds(make), bench.world.far, bench.say)
    checks = (
        wall_check(rows, "default", 0.6, "wall, against the best default settings"),
        wall_check(rows, "parallel", 1.1, "wall, against the best parallel settings"),
    )
    return bench.result("small", "20 × 0.5 MB, far", rows, checks, load, _FAR)


def release(bench: ImageBench) -> WorkResult:
    load = os.getloadavg()[0]
    tools = (IMGCTL, *FLEET_RIVALS)
    rows = in_turns(bench.world, tools, bench.rounds(bench.fleet), bench.world.far, bench.say)
    checks = (wall_check(rows, "default", 0.25, "wall, against the best"),)
    return bench.result(
        "release", "30 images that share layers, far", rows, checks, load, _SHAPE, _FAR
    )


def unchanged(bench: ImageBench) -> WorkResult:
    load = os.getloadavg()[0]
    world = bench.world

    def make(tag: str) -> Sequence[Image]:
        images = bench.fleet(tag)
        world.far.ends[1].empty()
        before = copied(world, IMGCTL, world.far, images)
        if before.note:
            raise RuntimeError(f"nothing is there to be unchanged: {before.note}")
        return images

    tools = (IMGCTL, *FLEET_RIVALS)
    rows = in_turns(world, tools, bench.rounds(make), world.far, bench.say, fresh=False)
    ours = rows[0]
    regsync = next(row for row in rows if row.tool == REGSYNC.name)
    checks = (
        _per_image(ours, "requests an image at the source", lambda one: one.source_requests),
        _per_image(
            ours, "requests an image at the destination", lambda one: one.destination_requests
        ),
        ratio_check(
            ours,
            regsync,
            seconds,
            1.0,
            "time inside the server, against regsync's run",
            lambda one: one.inside_seconds if one.inside_seconds is not None else one.seconds,
        ),
        ratio_check(ours, regsync, seconds, 2.0, "wall with the client's start, against regsync"),
    )
    return bench.result("unchanged", "the same 30 again, far", rows, checks, load, _FAR)


def _per_image(ours: Row, what: str, measure: Callable[[Sample], float]) -> Check:
    requests = ours.median(measure)
    value = None if ours.notes else requests / _FLEET
    return Check(what, f"{requests:.0f} requests", f"{_FLEET} images", value, 1.0)


_ENDS: Final[Mapping[str, tuple[bool, bool]]] = {
    "source": (True, False),
    "destination": (False, True),
    "both": (True, True),
}
_BROKEN_LAYERS: Final = (64, 64, 64, 64)


def reset(bench: ImageBench) -> WorkResult:
    """Once for each tool and end: what counts is whether they end, and the bytes."""
    load = os.getloadavg()[0]
    rows: list[Row] = []
    checks = []
    whole = sum(bench.bytes(size) for size in _BROKEN_LAYERS)
    for end in _ENDS:
        images = bench.image(
            bench.world.broken, "broken", _BROKEN_LAYERS, f"{end}-{time.time_ns()}"
        )
        for tool in (IMGCTL, *(rival for rival in RIVALS if rival.setting == "default")):
            sample = _copied_broken(bench, tool, end, images)
            bench.say(f"  {tool.name}, reset at {end}: {sample.seconds:.2f} s {sample.note}")
            rows.append(Row(f"{tool.name}, reset at {end}", tool.setting, (sample,)))
            if tool is IMGCTL:
                value = None if sample.note else sample.read_bytes / whole
                checks.append(
                    Check(
                        f"bytes read from the source, reset at {end}",
                        f"{sample.read_bytes / MB:.0f} MB",
                        f"{whole / MB:.0f} MB of layers",
                        value,
                        1.05,
                    )
                )
    title = "4 × 64 MB, a reset in the middle of each"
    remark = "Through a proxy that is no faster than Python: the times compare nothing."
    return bench.result("reset", title, rows, checks, load, remark, timed=False)


def _copied_broken(bench: ImageBench, tool: ImageTool, end: str, images: Sequence[Image]) -> Sample:
    world = bench.world
    world.broken.ends[1].empty()
    source, destination = world.faults
    middle = bench.bytes(_BROKEN_LAYERS[0]) // 2
    at_source, at_destination = _ENDS[end]
    for proxy in world.faults:
        proxy.faults.clear()
        proxy.clear_requests()
    digests = images[0].layers
    rules = []
    if at_source:
        cut = Fault(cut_after=middle)
        rules += [source.inject(cut, method="GET", pattern=f"/blobs/{one}") for one in digests]
    if at_destination:
        cut = Fault(cut_request_after=middle)
        for one in digests:
            pattern = f"digest={one.replace(':', '(:|%3A)')}"
            rules.append(destination.inject(cut, method="PUT", pattern=pattern))
        # A PATCH does not tell its blob. It is what rivals send, so as many as there
        # are blobs, the config with them, must do.
        destination.inject(cut, method="PATCH", times=len(digests) + 1)
    sample = copied(world, tool, world.broken, images)
    if tool is IMGCTL and not sample.note and any(rule.hits == 0 for rule in rules):
        sample = replace(sample, note="not every reset struck")
    _, read = source.traffic("GET", "/blobs/sha256:")
    written, _ = destination.traffic(pattern="/blobs/uploads/")
    return replace(sample, read_bytes=read, written_bytes=written)


def giant(bench: ImageBench) -> WorkResult:
    load = os.getloadavg()[0]
    world = bench.world
    small_mb, giant_mb = 50, 5000
    free = shutil.disk_usage(world.folder).free
    if free < 3 * bench.bytes(giant_mb):
        raise RuntimeError(f"a layer of {giant_mb} MB needs more disk than the {free} bytes here")
    over, rows = {}, []
    for megabytes in (small_mb, giant_mb):
        images = bench.image(world.near, f"giant-{megabytes}", [megabytes], f"v{time.time_ns()}")
        world.near.ends[1].empty()
        sample = copied(world, IMGCTL, world.near, images)
        over[megabytes] = (world.server.peak_bytes - world.idle_bytes) / MB
        bench.say(f"  {megabytes} MB: {sample.seconds:.2f} s {sample.note}")
        rows.append(Row(f"{IMGCTL.name}, {megabytes} MB", "ours", (sample,)))
    failed = any(row.notes for row in rows)
    small_over, giant_over = over[small_mb], over[giant_mb]
    idle = f"{world.idle_bytes / MB:.0f} MB idle"
    checks = (
        Check(
            "server's peak memory over idle",
            f"{giant_over:.0f} MB",
            idle,
            None if failed else giant_over,
            64,
            " MB",
        ),
        Check(
            "as much as for 50 MB, and not more",
            f"{giant_over:.0f} MB",
            f"{small_over:.0f} MB for the 50 MB layer",
            None if failed else giant_over - small_over,
            8,
            " MB",
        ),
    )
    return bench.result("giant", "a 5 GB layer", rows, checks, load, timed=False)


#: In the order in which they run.
WORKS: Final[Mapping[str, Callable[[ImageBench], WorkResult]]] = {
    "large": large,
    "small": small,
    "release": release,
    "unchanged": unchanged,
    "reset": reset,
    "giant": giant,
}
