"""No promotion without its records: a log that fails at either end, copies, crashes, denials."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imgctl_core import debts
from imgctl_core.audit import AuditLog, read, verify
from imgctl_core.audit.copies import Copy
from imgctl_core.auth.policy import EnvironmentRules
from imgctl_core.context import CancelToken
from imgctl_core.errors import AuditUnavailable, PromotionNotFound
from imgctl_core.journal import Journal
from imgctl_core.models import Outcome
from imgctl_core.peer import Peer
from imgctl_core.rules import Rule

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
    world.audit.record("auth.checked", {})
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


def test_who_asked_and_by_which_groups(make_world: Any) -> None:
    world = make_world(
        prod=EnvironmentRules(allowed_groups=("prod",)), allow=(Rule(groups=("team",)),)
    )
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    carol = replace(
        world.carol,
        groups=("team", "eng", "others", "prod"),
        matched_group="eng",
        token_id="t-1",
        token_sha256="0123456789abcdef",
        issued_at=when,
        expires_at=when + timedelta(hours=1),
    )
    world.engine.plan(world.request("app:v1"), carol, CancelToken(), Peer("test"))
    assert world.promote("app:v1", actor=carol).outcome is Outcome.PROMOTED
    events = ["plan.made", "promotion.requested", "promotion.promoted"]
    assert [record["event"] for record in world.records()] == events
    for record in world.records():
        assert record["peer"] == "test"
        assert record["actor"] == {
            "iss": "https://dex.example.com",
            "sub": "carol",
            "name": "carol",
            "email": "carol@example.com",
            "connector": "",
            "matched_group": "eng",
            "groups_used": ["eng", "prod", "team"],
            "token_id": "t-1",
            "token_sha256": "0123456789abcdef",
            "token_issued_at": "2030-01-02T03:04:05+00:00",
            "token_expires_at": "2030-01-02T04:04:05+00:00",
        }


def test_whoever_looks_at_or_stops_anothers_is_told_with_their_address(make_world: Any) -> None:
    world = make_world(prod=EnvironmentRules(allowed_groups=("prod",)))
    began, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        began.set()
        assert go_on.wait(20)

    world.promoter.on["stage"] = hold
    started = world.engine.start(world.request("app:v1"), world.carol, Peer("test"))
    assert began.wait(10)
    with pytest.raises(PromotionNotFound):
        world.engine.get(started.id, world.alice, Peer("10.0.0.1:5"))
    world.engine.cancel(started.id, world.carol, Peer("10.0.0.2:5"))
    go_on.set()
    world.wait(started.id, world.carol)
    (hidden,) = world.records("authz.denied")
    (asked,) = world.records("promotion.cancel_requested")
    assert (hidden["peer"], asked["peer"]) == ("10.0.0.1:5", "10.0.0.2:5")


def test_what_is_owed_is_logged_and_written_as_soon_as_it_can_be(
    world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(debts, "RETRY_SECONDS", 0.01)
    mends: list[Callable[[], None]] = []
    world.promoter.on["verify"] = lambda *_: mends.append(_closed(world, monkeypatch))
    promotion = world.promote("app:v1")
    assert promotion.audit_degraded
    # Whoever reads the server's log has it, whatever becomes of the process.
    (line,) = (text for text in caplog.messages if text.startswith("owed to the audit log"))
    said = json.loads(line.partition("promotion.promoted ")[2])
    assert (said["audit_id"], said["items"][0]["digest"]) == (promotion.id, "sha256:aa")
    mends[0]()
    _until(lambda: len(world.records()) == 2)
    written = world.records()[-1]
    assert (written["event"], written["audit_id"]) == ("promotion.promoted", promotion.id)
    assert written["ended_at"] == promotion.ended_at.isoformat()
    assert verify(world.log).problems == ()


def test_a_log_that_was_closed_is_not_opened_again(world: Any) -> None:
    world.audit.close()
    with pytest.raises(AuditUnavailable, match="closed"):
        world.audit.record("auth.checked", {})


def _until(ready: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)
