"""What was measured: samples, rows of a table, and whether what was to be reached was."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one tool.

    For imgctl, CPU and memory are those of client and server together.

    seconds
        From the start of the command to its end.
    inside_seconds
        For imgctl the part of it that the server spent on the promotion, by its own
        audit log; for others None.
    peak_bytes
        The largest resident memory of any one process; for imgctl client plus server.
    read_bytes, written_bytes
        What the source sent, and what reached the destination's disk, each with a
        little for headers and logs.
    note
        What else is to be said, such as how it failed.
    inside_cpu_seconds
        For imgctl the server's part of the CPU; for others None.
    service_cpu_seconds
        The CPU of the registries or the S3 server meanwhile. It is not in `cpu_seconds`.
    changes
        How many of the requests were to change something.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    source_requests: int
    destination_requests: int
    read_bytes: int
    written_bytes: int
    inside_seconds: float | None = None
    note: str = ""
    inside_cpu_seconds: float | None = None
    service_cpu_seconds: float = 0.0
    changes: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """All runs of one tool at one work."""

    tool: str
    setting: str
    samples: tuple[Sample, ...]

    @property
    def notes(self) -> str:
        """Return what the samples note, each thing once."""
        return "; ".join(dict.fromkeys(sample.note for sample in self.samples if sample.note))

    def of(self, measure: Callable[[Sample], float]) -> tuple[float, float, float]:
        """Return the median, the least and the most of a measure."""
        values = [measure(sample) for sample in self.samples]
        return statistics.median(values), min(values), max(values)

    def median(self, measure: Callable[[Sample], float]) -> float:
        return self.of(measure)[0]


@dataclass(frozen=True, slots=True)
class Check:
    """A figure that was to be reached: `value` may be `limit` at most.

    None is no figure at all: somebody failed.
    """

    what: str
    ours: str
    against: str
    value: float | None
    limit: float
    unit: str = ""

    @property
    def reached(self) -> bool:
        return self.value is not None and self.value <= self.limit


@dataclass(frozen=True, slots=True)
class WorkResult:
    """Everything about one work. The rows compare tools, unless it is not `timed`."""

    key: str
    title: str
    rows: tuple[Row, ...]
    checks: tuple[Check, ...]
    when: str
    load: float
    remarks: tuple[str, ...] = ()
    timed: bool = True

    @property
    def reached(self) -> bool:
        return all(check.reached for check in self.checks)


@dataclass(frozen=True, slots=True)
class PartResult:
    """A part of the benchmarks: its works, and the machine that they ran on."""

    machine: Mapping[str, str]
    works: Mapping[str, WorkResult] = field(default_factory=dict)


def seconds(sample: Sample) -> float:
    return sample.seconds


def cpu(sample: Sample) -> float:
    return sample.cpu_seconds


def best(rows: Sequence[Row], setting: str) -> Row | None:
    """Return the fastest rival with that setting that did the work."""
    able = [row for row in rows if row.setting == setting and not row.notes]
    return min(able, key=lambda row: row.median(seconds), default=None)


def wall_check(rows: Sequence[Row], setting: str, limit: float, what: str) -> Check:
    """Compare our time with that of the best rival."""
    return ratio_check(rows[0], best(rows, setting), seconds, limit, what)


def ratio_check(
    ours: Row,
    rival: Row | None,
    measure: Callable[[Sample], float],
    limit: float,
    what: str,
    ours_measure: Callable[[Sample], float] | None = None,
) -> Check:
    """Compare a measure, in seconds, with a rival's; a rival that failed proves nothing."""
    mine = ours.median(ours_measure or measure)
    if rival is None or rival.notes or ours.notes:
        return Check(what, f"{mine:.2f} s", "nothing to compare", None, limit)
    theirs = rival.median(measure)
    return Check(what, f"{mine:.2f} s", f"{rival.tool} {theirs:.2f} s", mine / theirs, limit)


def to_json(part: PartResult) -> dict[str, Any]:
    return asdict(part)


def from_json(data: Mapping[str, Any]) -> PartResult:
    works = {
        key: WorkResult(
            **{
                **work,
                "rows": tuple(
                    Row(row["tool"], row["setting"], tuple(Sample(**one) for one in row["samples"]))
                    for row in work["rows"]
                ),
                "checks": tuple(Check(**check) for check in work["checks"]),
                "remarks": tuple(work["remarks"]),
            }
        )
        for key, work in data["works"].items()
    }
    return PartResult(data["machine"], works)
