"""`make bench`: measures, prints, and writes docs/benchmarks.md.

python -m tests.bench [PART] [--runs N] [--work WORK]… [--page FILE] [--scale X]

Exit code 0 only when everything that was to be reached was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.bench import auth, start
from tests.bench.image import tools as image_tools
from tests.bench.image import works as image_works
from tests.bench.image.world import ImageWorld
from tests.bench.page import machine, save, show
from tests.bench.programs import ROOT, ProgramMissing
from tests.bench.results import PartResult, WorkResult
from tests.bench.spa import tools as spa_tools
from tests.bench.spa import works as spa_works
from tests.bench.spa.gateway import memory_folder
from tests.bench.spa.world import SpaWorld
from tests.bench.work import Bench
from tests.bench.world import World

_PARTS: Final = {
    "start": ("How fast the command line starts", tuple(start.COMPARISONS)),
    "auth": ("What knowing who calls costs", auth.WORKS),
    "image": ("Copying images", tuple(image_works.WORKS)),
    "spa": ("Copying SPA builds", tuple(spa_works.WORKS)),
}
_COPY_RUNS: Final = 3

Measure = Callable[[str], WorkResult]


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    reached = True
    for part in _PARTS if options.part == "all" else (options.part,):
        title, works = _PARTS[part]
        chosen = [work for work in works if not options.work or work in options.work]
        if not chosen:
            _say(f"part {part} has none of these works; it has {', '.join(works)}")
            return 2
        try:
            reached &= _measure(part, title, chosen, options)
        except ProgramMissing as missing:
            _say(str(missing))
            return 2
    return 0 if reached else 1


def _measure(part: str, title: str, works: Sequence[str], options: argparse.Namespace) -> bool:
    """Measure works, each saved as soon as it is done, and return whether all is reached."""
    about = {**machine(), "imgctl": _commit()}
    reached = True
    with _MEASURES[part](options) as (more, measure):
        for key in works:
            _say(f"{part}: {key}")
            result = measure(key)
            _say(f"\n{show(result)}\n")
            reached &= result.reached
            if options.scale == 1:
                part_result = PartResult({**about, **more}, {key: result})
                save(options.page, part, title, part_result)
    if options.scale == 1:
        _say(f"written to {options.page}")
    return reached


_About = dict[str, str]


@contextmanager
def _start(options: argparse.Namespace) -> Iterator[tuple[_About, Measure]]:
    def measure(key: str) -> WorkResult:
        return start.measure(key, options.runs or start.RUNS, _say)

    yield {}, measure


@contextmanager
def _auth(options: argparse.Namespace) -> Iterator[tuple[_About, Measure]]:
    with tempfile.TemporaryDirectory(prefix="imgctl-bench-", dir=options.folder) as folder:
        runs = options.runs or auth.RUNS
        yield {}, lambda _: auth.measure(Path(folder), runs, options.scale, _say)


@contextmanager
def _image(options: argparse.Namespace) -> Iterator[tuple[_About, Measure]]:
    image_tools.check_programs()
    with _world(ImageWorld, options.folder) as world:
        bench = image_works.ImageBench(world, *_sizes(options))
        yield image_tools.versions(), _in(bench, image_works.WORKS)


@contextmanager
def _spa(options: argparse.Namespace) -> Iterator[tuple[_About, Measure]]:
    spa_tools.check_programs()
    memory = None if options.folder else memory_folder()
    with _world(SpaWorld, memory or options.folder) as world:
        bench = spa_works.SpaBench(world, *_sizes(options))
        about = {"buckets": "in memory" if memory else "on a disk", **spa_tools.versions()}
        yield about, _in(bench, spa_works.WORKS)


W = TypeVar("W", bound=World)
B = TypeVar("B", bound=Bench[Any])


@contextmanager
def _world(kind: type[W], where: Path | None) -> Iterator[W]:
    with (
        tempfile.TemporaryDirectory(prefix="imgctl-bench-", dir=where) as folder,
        kind(Path(folder)) as world,
    ):
        yield world


def _sizes(options: argparse.Namespace) -> tuple[int, float, Callable[[str], None]]:
    return options.runs or _COPY_RUNS, options.scale, _say


def _in(bench: B, works: Mapping[str, Callable[[B], WorkResult]]) -> Measure:
    def measure(key: str) -> WorkResult:
        try:
            return works[key](bench)
        finally:
            # The next work begins with an empty disk.
            bench.world.empty()

    return measure


_MEASURES: Final = {"start": _start, "auth": _auth, "image": _image, "spa": _spa}


def _commit() -> str:
    packages = [str(path) for path in ROOT.glob("imgctl_*") if path.is_dir()]
    try:
        name = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", *packages)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} and changes" if changed else name


def _git(*arguments: str) -> str:
    asked = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure imgctl, and rivals beside it."
    )
    add = parser.add_argument
    add("part", nargs="?", choices=(*_PARTS, "all"), default="all")
    add("--runs", type=int, help="how often each tool does each work")
    add("--work", action="append", default=[], help="this work alone; may be repeated")
    add("--page", type=Path, default=ROOT / "docs" / "benchmarks.md", help="what to write")
    add(
        "--folder",
        type=Path,
        help="where registries and buckets are kept for the time; builds else go to memory",
    )
    add(
        "--scale",
        type=float,
        default=1.0,
        help="multiplies all sizes, to try the benchmark out; writes no page",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
