"""Part `spa` at a size at which its times say nothing: that it measures what it says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from tests.bench.copying import Tool, copied
from tests.bench.lines import LATENCY_MS, Route
from tests.bench.meters import Ended
from tests.bench.page import show
from tests.bench.programs import ProgramMissing
from tests.bench.results import WorkResult
from tests.bench.spa.builds import Build
from tests.bench.spa.tools import check_programs, versions, whole
from tests.bench.spa.works import WORKS, SpaBench
from tests.bench.spa.world import SpaWorld

FILES = 20
SCALE = FILES / 2000


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpaBench]:
    try:
        check_programs()
    except ProgramMissing as missing:
        if os.environ.get("IMGCTL_REQUIRE_PEERS") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    with SpaWorld(tmp_path_factory.mktemp("world")) as world:
        yield SpaBench(world, 1, SCALE, lambda text: None)


@pytest.fixture
def measure(bench: SpaBench) -> Callable[[str], WorkResult]:
    def measured(key: str) -> WorkResult:
        result = WORKS[key](bench)
        assert result.key == key
        assert all(check.value is not None for check in result.checks), show(result)
        return result

    bench.world.empty()
    return measured


@pytest.mark.parametrize("key", ["files", "far-files"])
def test_all_tools_copy_all_files(key: str, measure: Callable[[str], WorkResult]) -> None:
    result = measure(key)
    assert [row.tool.split()[0] for row in result.rows] == ["imgctl", "s5cmd", "aws", "rclone"]
    for row in result.rows:
        (sample,) = row.samples
        assert not sample.note
        assert sample.changes == FILES
        assert sample.source_requests >= 1
        assert sample.destination_requests > FILES
        assert sample.cpu_seconds > 0
    ours, *rivals = (row.samples[0] for row in result.rows)
    assert ours.inside_seconds is not None
    assert ours.inside_cpu_seconds is not None
    assert ours.inside_seconds < ours.seconds
    assert ours.inside_cpu_seconds < ours.cpu_seconds
    assert {rival.inside_seconds for rival in rivals} == {None}
    # A list, and a copy that needs it.
    least = 4 * LATENCY_MS / 1000 if key == "far-files" else 0
    assert min(row.samples[0].seconds for row in result.rows) > least
    assert "– of it inside the server" in show(result)


def test_what_is_unchanged_is_only_read(measure: Callable[[str], WorkResult]) -> None:
    result = measure("same")
    for row in result.rows:
        assert [sample.changes for sample in row.samples] == [0]
        assert row.samples[0].source_requests >= 1
    assert next(check for check in result.checks if "change" in check.what).reached


def test_time_for_a_file(measure: Callable[[str], WorkResult]) -> None:
    result = measure("many-files")
    few, many = (row.samples[0] for row in result.rows)
    assert (few.changes, many.changes) == (FILES, 10 * FILES)
    assert many.service_cpu_seconds > 0
    assert "CPU of the service, s" in show(result)


def test_copies_are_counted_by_the_stub(measure: Callable[[str], WorkResult]) -> None:
    (row,) = measure("copies").rows
    assert not row.notes
    assert row.samples[0].changes == 10 * FILES


def test_a_plan_of_many_writes_nothing(bench: SpaBench) -> None:
    result = WORKS["million"](replace(bench, scale=0.0025))
    (row,) = result.rows
    assert result.reached, show(result)
    # A page of 1,000 keys each, what lint looks at (its page and 100 of the other files),
    # and the destination's one page.
    assert row.samples[0].source_requests == 3 + 101
    assert (row.samples[0].destination_requests, row.samples[0].changes) == (1, 0)


def test_who_leaves_something_out_has_failed(bench: SpaBench) -> None:
    def nothing(world: SpaWorld, route: Route, builds: Sequence[Build]) -> Ended:
        return Ended(0, "", 0.1, 0.1, 1)

    world = bench.world
    sample = copied(world, Tool("lazy", "default", whole(nothing)), world.near, (Build("v1", 3),))
    assert sample.note == "failed (1): fail: it ended with 0 of 3 files there"


def test_every_program_says_its_version(bench: SpaBench) -> None:
    said = versions()
    assert set(said) == {"versitygw", "s5cmd", "aws", "rclone"}
    assert all(version[0].isdigit() for version in said.values())
