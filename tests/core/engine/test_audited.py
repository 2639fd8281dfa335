"""No promotion without its records: a log that fails at either end, copies, crashes, denials."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.audit import AuditLog, read, verify
from imgctl_core.audit.copies import Copy
from imgctl_core.errors import AuditUnavailable
from imgctl_core.journal import Journal
from imgctl_core.models import Outcome

Break = Callable[[Any, pytest.MonkeyPatch], Callable[[], None]]


def _failing(number: int) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def _full(world: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    write = os.write

    def cut(fd: int, data: bytes) -> int:
        # As a disk does that becomes full: some of it fits.
        return write(fd, data[: len(data) // 2]) if data.startswith(b"{") else write(fd, data)

    monkeypatch.setattr(os, "write", cut)
    return monkeypatch.undo


def _read_only(world: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setattr(os, "write", _failing(errno.EROFS))
    return monkeypatch.undo


def _unsynced(world: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
    return monkeypatch.undo


def _closed(world: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    # Somebody closes the descriptor, and the folder is gone for a while.
    os.close(world.audit._file._fd)
    away = world.log.with_suffix(".away")
    world.log.rename(away)
    world.log.mkdir()

    def mend() -> None:
        world.log.rmdir()
        away.rename(world.log)

    return mend


BREAKS = pytest.mark.parametrize("break_log", [_full, _read_only, _unsynced, _closed])


@BREAKS
def test_before_the_first_write_a_broken_log_stops_everything(
    world: Any, monkeypatch: pytest.MonkeyPatch, break_log: Break
) -> None:
    mend = break_log(world, monkeypatch)
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.FAILED
    assert promotion.items[0].error.reason == "AUDIT_UNAVAILABLE"
    assert promotion.audit_degraded
    assert world.promoter.calls == ["plan"]
    assert world.shelves["prod"] == {}
    with pytest.raises(AuditUnavailable):
        world.engine.start(world.request("app:v1"), world.alice)
    mend()
    assert world.promote("app:v1").outcome is Outcome.PROMOTED
    events = [record["event"] for record in world.records()]
    assert events == ["promotion.failed", "promotion.requested", "promotion.promoted"]
    assert verify(world.log).problems == ()


@BREAKS
def test_after_the_last_write_the_outcome_stands_and_is_owed(
    world: Any, monkeypatch: pytest.MonkeyPatch, break_log: Break
) -> None:
    mends: list[Callable[[], None]] = []
    world.promoter.on["verify"] = lambda *_: mends.append(break_log(world, monkeypatch))
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.PROMOTED
    assert promotion.audit_degraded
    assert promotion.audit_head == ""
    assert world.shelves["prod"] == {"app:v1": "sha256:aa"}
    world.promoter.calls.clear()
    with pytest.raises(AuditUnavailable):
        world.engine.start(world.request("lib:v1"), world.alice)
    assert world.promoter.calls == []
    mends[0]()
    del world.promoter.on["verify"]
    assert world.promote("lib:v1").outcome is Outcome.PROMOTED
    events = [record["event"] for record in world.records()]
    assert events == ["promotion.requested", "promotion.promoted"] * 2
    assert verify(world.log).problems == ()


def test_callers_hear_nothing_of_paths_and_the_servers_log_has_them(
    world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mend = _full(world, monkeypatch)
    failure = world.promote("app:v1").items[0].error
    with pytest.raises(AuditUnavailable) as caught:
        world.engine.start(world.request("app:v1"), world.alice)
    mend()
    for told in (failure, caught.value):
        assert told.message == "the server can't write its audit log, and does nothing without it"
        assert told.fix == "tell whoever runs the server: its log has the details"
    details = f"the audit log {world.log} can't be written: only "
    for what in ("writes nothing", "no promotion begins"):
        assert f"{what}: {details}" in caplog.text


class Place:
    def __init__(self) -> None:
        self.error: OSError | None = None
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.lines.append(line)

    def close(self) -> None:
        pass


def test_a_required_copy_that_fails_stops_everything_too(
    make_world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place()
    world = make_world(copies=[Copy("place", place, required=True)])
    place.error = OSError(errno.ECONNREFUSED, "Connection refused")
    # What came before is in the log, and not in the copy.
    world.journal.event("auth.checked", {})
    with pytest.raises(AuditUnavailable):
        world.engine.start(world.request("app:v1"), world.alice)
    assert "no promotion begins: the audit log's copy to place lags behind" in caplog.text
    place.error = None
    world.promoter.on["plan"] = lambda *_: setattr(place, "error", OSError("gone"))
    promotion = world.promote("app:v1")
    assert promotion.items[0].error.reason == "AUDIT_UNAVAILABLE"
    assert world.promoter.calls == ["plan"]
    assert world.shelves["prod"] == {}
    del world.promoter.on["plan"]
    place.error = None
    assert world.promote("app:v1").outcome is Outcome.PROMOTED
    assert b"".join(place.lines) == world.log.read_bytes()


def test_an_outcome_that_a_required_copy_lacks_is_said_and_written_once(make_world: Any) -> None:
    place = Place()
    world = make_world(copies=[Copy("place", place, required=True)])
    world.promoter.on["verify"] = lambda *_: setattr(place, "error", OSError("gone"))
    promotion = world.promote("app:v1")
    assert promotion.outcome is Outcome.PROMOTED
    assert promotion.audit_degraded
    assert promotion.audit_head == world.audit.head
    place.error = None
    world.journal.settle()
    assert [record["event"] for record in world.records()] == [
        "promotion.requested",
        "promotion.promoted",
    ]
    assert b"".join(place.lines) == world.log.read_bytes()


def test_the_request_is_on_the_disk_before_the_first_write(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        fsync(fd)
        order.append(f"sync {[record['event'] for record in world.records()]}")

    monkeypatch.setattr(os, "fsync", noted)
    world.promoter.on["stage"] = lambda *_: order.append("stage")
    world.promote("app:v1")
    assert order == [
        "sync ['promotion.requested']",
        "stage",
        "sync ['promotion.requested', 'promotion.promoted']",
    ]


def test_fifty_writers_keep_the_numbers_dense(make_world: Any) -> None:
    world = make_world(max_promotions=50)
    world.shelves["dev"] |= {f"app:{number}": f"sha256:{number}" for number in range(50)}
    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(lambda n: world.promote(f"app:{n}").outcome, range(50)))
    assert set(outcomes) == {Outcome.PROMOTED}
    records = world.records()
    assert [record["seq"] for record in records] == list(range(1, 101))
    by_event = {event: [r["audit_id"] for r in records if r["event"] == event] for event in
                ("promotion.requested", "promotion.promoted")}  # fmt: skip
    assert sorted(by_event["promotion.requested"]) == sorted(by_event["promotion.promoted"])
    assert len(set(by_event["promotion.requested"])) == 50
    assert verify(world.log).problems == ()


def test_a_promotion_that_a_crash_cut_off_is_told_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    crashed = AuditLog(path)
    crashed.record(
        "promotion.requested",
        {
            "audit_id": "pr_1",
            "source": "dev",
            "destination": "prod",
            "actor": {"sub": "alice"},
            "items": [{"ref": "app:v1", "digest": "sha256:aa"}],
        },
    )
    crashed.record("promotion.requested", {"audit_id": "pr_2"})
    crashed.record("promotion.promoted", {"audit_id": "pr_2"})
    crashed.close()
    log = AuditLog(path)
    journal = Journal(log)
    journal.started({"version": "1"})
    journal.stopped()
    log.close()
    *_, started, interrupted, stopped = read(path)
    events = (started["event"], interrupted["event"], stopped["event"])
    assert events == ("server.started", "promotion.interrupted", "server.stopped")
    assert interrupted["audit_id"] == "pr_1"
    assert interrupted["requested_seq"] == 1
    assert interrupted["items"] == [{"ref": "app:v1", "digest": "sha256:aa"}]
    assert "pr_1 to prod was cut off" in caplog.text
    again = AuditLog(path)
    assert again.interrupted == ()
    again.close()
