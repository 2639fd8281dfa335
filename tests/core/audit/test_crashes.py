"""Cut off before any of its calls, or in the middle of a line, twice in a row: the log is whole."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from imgctl_core.audit import AuditLog, read, verify
from imgctl_core.audit.chain import parse
from imgctl_core.audit.copies import Copy
from imgctl_core.errors import AuditUnavailable

Result = TypeVar("Result")

#: Of this a life's records fill a file and more.
MAX_BYTES = 600

#: How much of a line reaches the disk: its first byte, half of it, all but the newline.
PARTS: tuple[Callable[[bytes], bytes], ...] = (
    lambda line: line[:1],
    lambda line: line[: len(line) // 2],
    lambda line: line[:-1],
)


class Crash(BaseException):
    """The process is gone: nobody catches it."""


@dataclass
class Machine:
    """Counts the calls that change something, and lets one of them fail.

    `part` is what of the line is written before that, of a write. What a kernel does for a
    process that is gone is done by `clear`: its files are closed.
    """

    fail_at: int = 0
    part: Callable[[bytes], bytes] | None = None
    error: BaseException = field(default_factory=Crash)
    calls: list[str] = field(default_factory=list)
    open_ones: set[int] = field(default_factory=set)
    failed: bool = False

    def arm(self, fail_at: int, part: Callable[[bytes], bytes] | None = None) -> None:
        self.fail_at, self.part, self.calls, self.failed = fail_at, part, [], False

    def due(self, call: str) -> bool:
        if call == "fsync" and isinstance(self.error, Crash):
            # The page cache outlives a process: all that is lost is what comes after.
            return False
        self.calls.append(call)
        if len(self.calls) != self.fail_at:
            return False
        self.failed = True
        return True

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real_open, real_close, real_write = os.open, os.close, os.write
        self.real_close = real_close

        def write(fd: int, data: bytes) -> int:
            if self.due("write"):
                if self.part is not None:
                    real_write(fd, self.part(data))
                raise self.error
            return real_write(fd, data)

        def opened(*args: Any, **kwargs: Any) -> int:
            if self.due("open"):
                raise self.error
            fd = real_open(*args, **kwargs)
            self.open_ones.add(fd)
            return fd

        def close(fd: int) -> None:
            self.open_ones.discard(fd)
            real_close(fd)

        def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                if self.due(name):
                    raise self.error
                return real(*args)

            return call

        monkeypatch.setattr(os, "write", write)
        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "close", close)
        monkeypatch.setattr(os, "rename", counted("rename", os.rename))
        monkeypatch.setattr(os, "fsync", counted("fsync", lambda _: None))

    def clear(self) -> None:
        for fd in self.open_ones:
            self.real_close(fd)
        self.open_ones.clear()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine()
    machine.install(monkeypatch)
    # What is on the disk depends on the calls alone: states that are the same are seen once.
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))
    yield machine
    machine.clear()


@dataclass(frozen=True)
class State:
    """What is left: the files, and what somebody was told is in the log."""

    files: tuple[tuple[str, bytes], ...] = ()
    told: frozenset[tuple[str, str]] = frozenset()

    def lay_out(self, folder: Path) -> None:
        for old in folder.iterdir():
            old.unlink()
        for name, text in self.files:
            (folder / name).write_bytes(text)


def _found(folder: Path, told: set[tuple[str, str]]) -> State:
    files = tuple((path.name, path.read_bytes()) for path in sorted(folder.iterdir()))
    return State(files, frozenset(told))


def _clock() -> datetime:
    return datetime(2026, 11, 25, tzinfo=UTC)


def _live(folder: Path, life: str, told: set[tuple[str, str]]) -> None:
    """Do as a server does, with promotions that overlap."""
    log = AuditLog(folder / "audit.jsonl", max_bytes=MAX_BYTES, now=_clock)

    def record(event: str, audit_id: str) -> None:
        log.record(event, {"audit_id": audit_id}, durable=True)
        told.add((event, audit_id))

    for entry in log.interrupted:
        record("promotion.interrupted", str(entry["audit_id"]))
    for event, number in (("requested", 1), ("requested", 2), ("promoted", 1)):
        record(f"promotion.{event}", f"pr_{life}{number}")
    log.close()


def _crashes(folder: Path, before: State, life: str, machine: Machine) -> set[State]:
    """Return what may be left when a life that begins so is cut off anywhere in it."""
    left = set()
    for number in itertools.count(1):
        for part in (None, *PARTS):
            before.lay_out(folder)
            told = set(before.told)
            machine.arm(number, part)
            with contextlib.suppress(Crash):
                _live(folder, life, told)
            machine.clear()
            left.add(_found(folder, told))
            if not machine.failed or machine.calls[-1] != "write":
                break
        if not machine.failed:
            break
    assert "rename" in machine.calls
    return left


def _check(folder: Path, state: State, machine: Machine) -> None:
    state.lay_out(folder)
    machine.arm(0)
    path = folder / "audit.jsonl"
    last = AuditLog(path)
    interrupted = [str(entry["audit_id"]) for entry in last.interrupted]
    last.close()
    files = [*sorted(folder.glob("audit.*.jsonl")), path]
    result = verify(*files)
    assert result.problems == ()
    told = Counter((str(each["event"]), str(each.get("audit_id"))) for each in read(*files))
    assert state.told <= set(told)
    requested = {audit_id for event, audit_id in told if event == "promotion.requested"}
    ended = [
        audit_id
        for event, audit_id in told
        if event in ("promotion.promoted", "promotion.interrupted")
    ]
    assert len(ended) == len(set(ended))
    assert sorted(interrupted) == sorted(requested - set(ended))


def test_two_crashes_anywhere_lose_nothing(tmp_path: Path, machine: Machine) -> None:
    once = _crashes(tmp_path, State(), "a", machine)
    twice = {state for one in once for state in _crashes(tmp_path, one, "b", machine)}
    assert len(twice) > len(once) > 10
    for state in once | twice:
        _check(tmp_path, state, machine)


def _insist(act: Callable[[], Result]) -> Result:
    """Do something, and once more if it fails."""
    try:
        return act()
    except AuditUnavailable:
        return act()


@pytest.mark.parametrize("part", [None, *PARTS], ids=["none", "byte", "half", "unended"])
@pytest.mark.parametrize("take_back", [True, False])
def test_an_error_of_any_call_leaves_one_chain_and_copies_of_all_of_it(
    tmp_path: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    part: Callable[[bytes], bytes] | None,
    take_back: bool,
) -> None:
    if not take_back:
        monkeypatch.setattr(os, "ftruncate", _refused)
    machine.error = OSError(errno.EIO, os.strerror(errno.EIO))
    path = tmp_path / "audit.jsonl"
    for number in itertools.count(1):
        State().lay_out(tmp_path)
        machine.arm(number, part)
        lines = Lines()
        copies = [Copy("place", lines, required=True)]
        log = _insist(partial(AuditLog, path, max_bytes=MAX_BYTES, copies=copies))
        for event in ("requested", "started", "promoted", "requested"):
            fields = {"audit_id": f"pr_{number}"}
            _insist(partial(log.record, f"promotion.{event}", fields, durable=True))
        log.settle(30)
        log.close()
        files = [*sorted(tmp_path.glob("audit.*.jsonl")), path]
        assert verify(*files).problems == ()
        written = [line for file in files for line in file.read_bytes().splitlines()]
        assert b"".join(lines.taken).splitlines() == [line for line in written if parse(line)]
        if not machine.failed:
            break
    assert "rename" in machine.calls


class Lines:
    """A place that takes everything."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.taken.append(line)

    def close(self) -> None:
        """Nothing to give back."""


def _refused(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
