"""The chain goes on from file to file, whoever moves them, and whenever."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from imgctl_core.audit import GENESIS, AuditLog, read, verify
from imgctl_core.audit.places import rotated
from imgctl_core.errors import AuditUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def _write(audit: AuditLog, count: int) -> None:
    for _ in range(count):
        audit.record("auth.checked", {})


def _events(*paths: Path) -> list[object]:
    return [record["event"] for record in read(*paths)]


def test_a_full_file_is_moved_aside_and_the_chain_goes_on(path: Path) -> None:
    audit = AuditLog(path, max_bytes=1500)
    _write(audit, 20)
    audit.close()
    files = [*sorted(path.parent.glob("audit.*.jsonl")), path]
    assert len(files) > 3
    assert all(file.stat().st_size < 1500 + 600 for file in files)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    result = verify(*files)
    assert (result.problems, result.first) == ((), 1)
    assert [record["seq"] for record in read(*files)] == list(range(1, result.records + 1))
    first = next(read(files[1]))
    assert first["event"] == "audit.rotated"
    assert first["previous_file"] == files[0].name == f"audit.{first['previous_seq']:012d}.jsonl"
    # A file alone is sound, and says where it begins.
    alone = verify(path)
    assert alone.problems == ()
    assert alone.first > 1


def test_no_other_file_is_written_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audit = AuditLog(path, max_bytes=1)
    _write(audit, 1)
    taken = rotated(path, 1)
    taken.write_text("precious")
    _write(audit, 1)
    assert taken.read_text() == "precious"
    assert "another file has that name" in caplog.text
    taken.unlink()
    _write(audit, 1)
    audit.close()
    assert verify(*sorted(path.parent.glob("audit.0*.jsonl")), path).problems == ()


def test_files_that_are_missing_or_in_another_order_are_found(path: Path) -> None:
    audit = AuditLog(path, max_bytes=1500)
    _write(audit, 20)
    audit.close()
    files = [*sorted(path.parent.glob("audit.*.jsonl")), path]
    for wrong in ([files[0], *files[2:]], [files[1], files[0], *files[2:]]):
        assert f"{wrong[1]}: line 1 does not follow the line before it" in verify(*wrong).problems


def test_a_file_moved_away_while_no_server_ran_is_gone_on_from(path: Path) -> None:
    audit = AuditLog(path)
    _write(audit, 3)
    audit.close()
    moved = path.with_name("audit.jsonl-20261001")
    path.rename(moved)
    path.with_name("audit.jsonl.old.gz").write_bytes(b"\x1f\x8b rubbish")
    path.with_name("audit.jsonl.d").mkdir()
    again = AuditLog(path)
    _write(again, 1)
    again.close()
    assert _events(path) == ["audit.rotated", "auth.checked"]
    assert next(read(path))["previous_file"] == moved.name
    assert verify(moved, path).problems == ()


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("audit.jsonl.1", True),
        ("audit.jsonl-20261001", True),
        ("audit.jsonl.old", True),
        ("audit.000000000002.jsonl", True),
        ("audit-20261001.jsonl", True),
        ("audit-other.jsonl", False),
        ("audit2.jsonl", False),
        ("my-audit.jsonl", False),
    ],
)
def test_only_what_is_named_for_the_log_is_gone_on_from(path: Path, name: str, ours: bool) -> None:
    audit = AuditLog(path.with_name(name))
    _write(audit, 2)
    audit.close()
    AuditLog(path).close()
    assert (_events(path) == ["audit.rotated"]) is ours
    assert len(_events(path)) == ours


def test_a_new_empty_file_in_its_place_is_as_good(path: Path) -> None:
    """What `create` of logrotate does."""
    audit = AuditLog(path)
    _write(audit, 2)
    path.rename(path.with_name("audit.jsonl.1"))
    path.touch(0o600)
    audit.follow()
    assert _events(path) == ["audit.rotated"]
    audit.close()
    path.rename(path.with_name("audit.jsonl.2"))
    path.touch(0o600)
    AuditLog(path).close()
    files = (path.with_name("audit.jsonl.1"), path.with_name("audit.jsonl.2"), path)
    assert verify(*files).problems == ()
    assert verify(*files).records == 4


def test_following_a_file_that_is_where_it_was_writes_nothing(path: Path) -> None:
    audit = AuditLog(path)
    _write(audit, 1)
    before = path.read_bytes()
    audit.follow()
    audit.close()
    assert path.read_bytes() == before


def test_a_file_that_is_removed_leaves_a_gap_that_shows(path: Path) -> None:
    audit = AuditLog(path)
    _write(audit, 2)
    path.unlink()
    _write(audit, 1)
    audit.close()
    assert [record["seq"] for record in read(path)] == [3, 4]
    assert verify(path).first == 3


def test_a_crash_between_moving_and_the_new_file_loses_nothing(path: Path) -> None:
    audit = AuditLog(path)
    audit.record("promotion.requested", {"audit_id": "pr_1"})
    audit.close()
    path.rename(path.with_name("audit.000000000001.jsonl"))
    again = AuditLog(path)
    assert [entry["audit_id"] for entry in again.interrupted] == ["pr_1"]
    again.close()
    assert [record["seq"] for record in read(path)] == [2]


def test_a_new_file_that_can_not_be_made_stops_everything_until_it_can(path: Path) -> None:
    audit = AuditLog(path)
    _write(audit, 2)
    moved = path.with_suffix(".1")
    path.rename(moved)
    path.mkdir()
    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            audit.record("auth.checked", {})
    path.rmdir()
    _write(audit, 1)
    audit.close()
    assert verify(moved, path).problems == ()
    assert verify(moved, path).records == 4


def test_copying_and_truncating_is_noticed_and_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = AuditLog(path)
    _write(audit, 3)
    copy = path.with_suffix(".1")
    copy.write_bytes(path.read_bytes())
    size = path.stat().st_size
    os.truncate(path, 0)
    _write(audit, 1)
    audit.close()
    assert _events(path) == ["audit.truncated", "auth.checked"]
    first = next(read(path))
    assert (first["expected_bytes"], first["found_bytes"]) == (size, 0)
    assert "cut the audit log" in caplog.text
    (problem,) = verify(path).problems
    assert problem == "line 1 says that the file was cut, and what it held is not here"
    # Nothing is missing when the copy has it all.
    assert verify(copy, path).problems == ()


def test_a_tail_cut_off_a_running_server_is_found(path: Path) -> None:
    audit = AuditLog(path)
    _write(audit, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    os.truncate(path, len(b"".join(lines[:1])))
    _write(audit, 1)
    audit.close()
    assert verify(path).problems == (
        "line 2 does not follow the line before it",
        "line 2 has number 4, expected 2",
    )


def test_a_file_cut_in_a_line_is_told_and_loses_no_interruption(path: Path) -> None:
    audit = AuditLog(path)
    for number in (1, 2):
        audit.record("promotion.requested", {"audit_id": f"pr_{number}"})
        size = path.stat().st_size
        audit.record("promotion.requested", {"audit_id": f"pr_x{number}"})
        audit.record("promotion.promoted", {"audit_id": f"pr_x{number}"})
    expected, head = path.stat().st_size, audit.head
    # The middle of the third last line: of pr_x2 neither the request nor the outcome is left.
    os.truncate(path, size - 20)
    torn = path.read_bytes().splitlines()[-1]
    _write(audit, 1)
    audit.close()
    truncated = [*read(path)][-2]
    assert truncated["event"] == "audit.truncated"
    assert truncated["prev_hash"] == head
    assert (truncated["expected_bytes"], truncated["found_bytes"]) == (expected, size - 20)
    assert truncated["torn_sha256"] == hashlib.sha256(torn).hexdigest()
    assert verify(path).problems == (
        "line 5 does not follow the line before it",
        "line 5 has number 7, expected 4",
    )
    again = AuditLog(path)
    assert [entry["audit_id"] for entry in again.interrupted] == ["pr_1", "pr_2"]
    again.close()


def test_an_outcome_that_was_cut_off_is_no_interruption(path: Path) -> None:
    audit = AuditLog(path)
    audit.record("promotion.requested", {"audit_id": "pr_1"})
    size = path.stat().st_size
    audit.record("promotion.promoted", {"audit_id": "pr_1"})
    os.truncate(path, size)
    audit.follow()
    audit.close()
    again = AuditLog(path)
    assert again.interrupted == ()
    again.close()


def test_a_full_file_that_can_not_be_moved_grows_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    audit = AuditLog(path, max_bytes=1)
    monkeypatch.setattr(os, "rename", fail)
    _write(audit, 5)
    monkeypatch.undo()
    assert [record["seq"] for record in read(path)] == [1, 2, 3, 4, 5]
    assert caplog.text.count("can't be moved") == 1
    # And it is moved as soon as it can be.
    _write(audit, 1)
    audit.close()
    assert _events(path) == ["audit.rotated", "auth.checked"]
    assert verify(path.with_name("audit.000000000005.jsonl"), path).problems == ()


def test_what_was_under_way_is_carried_into_the_next_file(path: Path) -> None:
    audit = AuditLog(path, max_bytes=1)
    for number in (1, 2, 3):
        audit.record("promotion.requested", {"audit_id": f"pr_{number}", "destination": "prod"})
    audit.record("promotion.cancel_requested", {"audit_id": "pr_1"})
    audit.record("promotion.failed", {"audit_id": "pr_2"})
    audit.close()
    again = AuditLog(path)
    assert [entry["audit_id"] for entry in again.interrupted] == ["pr_1", "pr_3"]
    assert again.interrupted[0]["destination"] == "prod"
    assert again.interrupted[0]["requested_seq"] == 1
    again.record("promotion.interrupted", again.interrupted[0])
    again.close()
    last = AuditLog(path)
    assert [entry["audit_id"] for entry in last.interrupted] == ["pr_3"]
    last.close()
    assert verify(*sorted(path.parent.glob("audit.*.jsonl")), path).problems == ()


def test_the_first_log_begins_at_the_beginning(path: Path) -> None:
    audit = AuditLog(path)
    _write(audit, 1)
    audit.close()
    assert next(read(path))["prev_hash"] == GENESIS
