"""Part `start`: how long the command line takes to start, against what it must import."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from imgctl_cli.sandbox.world import Sandbox
from tests.bench.meters import run
from tests.bench.programs import IMGCTL
from tests.bench.results import Row, Sample, WorkResult, ratio_check, seconds

RUNS: Final = 15


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two commands, and how many times the second may be the first."""

    title: str
    base: tuple[str, ...]
    command: tuple[str, ...]
    limit: float


def _importing(modules: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import {modules}")


COMPARISONS: Final[Mapping[str, Comparison]] = {
    "help": Comparison("imgctl --help", _importing("click"), (IMGCTL, "--help"), 1.3),
    "promote": Comparison(
        "imgctl promote, unchanged, cached token",
        _importing("click, grpc"),
        (IMGCTL, "promote", Sandbox.image, "--source", "dev", "--destination", "prod"),
        2.5,
    ),
}


def measure(key: str, runs: int, say: Callable[[str], None]) -> WorkResult:
    """Compare; both commands run once before, for the caches of files, token and image."""
    comparison = COMPARISONS[key]
    load = os.getloadavg()[0]
    with Sandbox() as sandbox:
        env = {**os.environ, **sandbox.environment}
        pairs = [
            (_sample(comparison.command, env), _sample(comparison.base, env))
            for _ in range(runs + 1)
        ][1:]
    ours, base = (tuple(samples) for samples in zip(*pairs, strict=True))
    rows = (
        Row(comparison.title, "ours", ours),
        Row(f"python -c '{comparison.base[-1]}'", "default", base),
    )
    check = ratio_check(rows[0], rows[1], seconds, comparison.limit, "against importing alone")
    say(f"  {check.ours} against {check.against}")
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return WorkResult(key, comparison.title, rows, (check,), when, load)


def _sample(command: tuple[str, ...], env: Mapping[str, str]) -> Sample:
    ended = run(command, env, 60)
    if ended.code:
        raise RuntimeError(f"{' '.join(command)} failed: {ended.output}")
    return Sample(ended.seconds, ended.cpu_seconds, ended.peak_bytes, 0, 0, 0, 0)
