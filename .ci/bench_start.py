"""Measures how long the command line takes to start, against what it must import.

Run it inside the sandbox (`make bench`). Runs alternate, and medians are compared, so that
a busy machine slows both sides of a ratio. Fails when a ratio is over its limit.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

RUNS = 15
_IMGCTL = str(Path(sys.executable).with_name("imgctl"))


@dataclass(frozen=True)
class Comparison:
    """Two commands, and how many times the second may be the first."""

    title: str
    base: list[str]
    command: list[str]
    limit: float


COMPARISONS = (
    Comparison(
        "imgctl --help, against importing click",
        [sys.executable, "-c", "import click"],
        [_IMGCTL, "--help"],
        1.3,
    ),
    Comparison(
        "imgctl promote (unchanged, cached token), against importing click and grpc",
        [sys.executable, "-c", "import click, grpc"],
        [_IMGCTL, "promote", "myapp:v1.0.0", "--source", "dev", "--destination", "prod"],
        2.5,
    ),
)


def seconds(command: list[str]) -> float:
    """Run a command and return how long it took.

    Raises:
        CalledProcessError: it failed.
    """
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


def compare(comparison: Comparison) -> bool:
    """Print a comparison and return whether it is within its limit."""
    seconds(comparison.base)  # both once before: caches of files, of the token, the image
    seconds(comparison.command)
    base, command = [], []
    for _ in range(RUNS):
        base.append(seconds(comparison.base))
        command.append(seconds(comparison.command))
    ratio = statistics.median(command) / statistics.median(base)
    sys.stdout.write(
        f"{comparison.title}\n"
        f"  {statistics.median(command) * 1000:.0f} ms against "
        f"{statistics.median(base) * 1000:.0f} ms: {ratio:.2f} times, at most {comparison.limit}\n"
    )
    return ratio <= comparison.limit


def main() -> int:
    results = [compare(comparison) for comparison in COMPARISONS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
