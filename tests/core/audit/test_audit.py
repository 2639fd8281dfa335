"""The audit log: what breaks its chain is found, what can't be written is said."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgctl_core.audit import GENESIS, AuditLog, read, verify
from imgctl_core.audit.chain import Link, seal
from imgctl_core.audit.reading import MAX_PROBLEMS
from imgctl_core.errors import AuditUnavailable
from imgctl_core.models import JSON


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of four records."""
    path = tmp_path / "state" / "audit.jsonl"
    audit = AuditLog(path)
    for number in range(4):
        audit.record("auth.checked", {"number": number, "text": "é\u2028\ud800"})
    audit.close()
    return path


def test_the_hash_is_what_the_contract_says(log: Path) -> None:
    prev = GENESIS
    for line in log.read_bytes().splitlines():
        line.decode("ascii")
        record = json.loads(line)
        stored = record.pop("hash")
        assert record["prev_hash"] == prev
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        assert hashlib.sha256((prev + text).encode("ascii")).hexdigest() == stored
        prev = stored
    assert verify(log) == verify(log, expect_head=prev)
    assert (verify(log).records, verify(log).head, verify(log).problems) == (4, prev, ())


def test_it_is_private(log: Path) -> None:
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_was_everybodys_is_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    path.chmod(0o666)
    AuditLog(path).close()
    # A group that reads it may be meant: whatever ships the log.
    assert path.stat().st_mode & 0o777 == 0o660
    assert "had mode 0666" in caplog.text


def test_the_name_of_a_new_file_is_on_the_disk_too(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    sync = os.fsync

    def note(fd: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(fd).st_mode))
        sync(fd)

    monkeypatch.setattr(os, "fsync", note)
    AuditLog(log.with_name("new.jsonl")).close()
    assert synced == [True]


def test_the_chain_goes_on_after_a_restart(log: Path) -> None:
    audit = AuditLog(log)
    head = audit.record("auth.checked", {}, durable=True)
    assert audit.head == head
    audit.close()
    assert [record["seq"] for record in read(log)] == [1, 2, 3, 4, 5]
    assert verify(log, expect_head=head).problems == ()


def _edit(lines: list[bytes]) -> list[bytes]:
    lines[1] = lines[1].replace(b'"number":1', b'"number":7')
    return lines


def _delete(lines: list[bytes]) -> list[bytes]:
    return lines[:1] + lines[2:]


def _swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], lines[3]]


def _insert(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[0], *lines[1:]]


def _garbage(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b'{"seq":2}\n', *lines[1:]]


def _first(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def _twice(lines: list[bytes]) -> list[bytes]:
    """Name a field twice: whoever reads the first sees another value than the hash is of."""
    lines[1] = lines[1].replace(b'{"boot_id"', b'{"number":9,"boot_id"')
    return lines


def _respelt(lines: list[bytes]) -> list[bytes]:
    lines[1] = lines[1].replace(b'"number":1', b'"number": 1')
    return lines


@pytest.mark.parametrize(
    "tamper", [_edit, _delete, _swap, _insert, _garbage, _first, _twice, _respelt]
)
def test_tampering_is_found(log: Path, tamper: Callable[[list[bytes]], list[bytes]]) -> None:
    log.write_bytes(b"".join(tamper(log.read_bytes().splitlines(keepends=True))))
    assert verify(log).problems


def test_a_cut_tail_is_found_only_with_a_head_kept_elsewhere(log: Path) -> None:
    head = verify(log).head
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert verify(log).problems == ()
    assert "expected hash" in verify(log, expect_head=head).problems[0]


def test_a_torn_last_line_is_marked_and_kept(log: Path) -> None:
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"event":"auth.ch')
    AuditLog(log).close()
    assert log.read_bytes().startswith(whole + b'{"event":"auth.ch\n')
    assert [record["event"] for record in read(log)][-1] == "audit.recovered"
    assert verify(log).problems == ()
    log.write_bytes(log.read_bytes().replace(b'{"event":"auth.ch\n', b'{"event":"other\n'))
    assert verify(log).problems == ("line 5 is no record",)


@pytest.mark.parametrize("left", [b'{"event":"au\n', b'{"event":"au\n{"ev', b"\n", b'{"a\n\n{"b\n'])
def test_what_several_crashes_left_of_lines_is_marked_at_once(log: Path, left: bytes) -> None:
    """A crash may cut the record too that was to mark what the one before it had cut."""
    whole = log.read_bytes()
    log.write_bytes(whole + left)
    assert verify(log).problems
    AuditLog(log).close()
    assert log.read_bytes().startswith(whole + left)
    last = [*read(log)][-1]
    assert last["event"] == "audit.recovered"
    assert last["torn_sha256"] == hashlib.sha256(left.removesuffix(b"\n")).hexdigest()
    assert (verify(log).problems, verify(log).records) == ((), 5)
    # One more line, or one less, is not what was marked.
    after = log.read_bytes().removeprefix(whole + left)
    log.write_bytes(whole + b"x\n" + left + after)
    assert "line 5 is no record" in verify(log).problems


def test_a_line_is_marked_only_by_a_record_that_says_how_the_log_was_found(log: Path) -> None:
    audit = AuditLog(log)
    audit.record("auth.checked", {"torn_sha256": hashlib.sha256(b"x").hexdigest()})
    audit.close()
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:4], b"x\n", lines[4]]))
    assert verify(log).problems == ("line 5 is no record",)


def test_a_line_is_marked_only_by_the_record_right_after_it(log: Path) -> None:
    log.write_bytes(log.read_bytes() + b'{"event":"auth.ch')
    audit = AuditLog(log)
    audit.record("auth.checked", {})
    audit.close()
    lines = log.read_bytes().splitlines(keepends=True)
    assert verify(log).problems == ()
    log.write_bytes(b"".join([*lines[:4], *lines[5:], lines[4]]))
    assert verify(log).problems == ("line 7 is no record",)


def test_files_of_earlier_versions_are_sound(log: Path) -> None:
    """Theirs has the lines' hash alone, of the last one, and the rotation by itself."""
    when = {"ts": "2026-01-01T00:00:00.000000+00:00", "boot_id": "b"}
    torn = {"torn_sha256": hashlib.sha256(b'{"torn').hexdigest()}
    stands = Link(4, verify(log).head)
    recovered = seal(stands, "audit.recovered", torn, **when)
    moved: dict[str, JSON] = {"previous_seq": 4, "previous_file": "audit.jsonl.1", "unfinished": []}
    rotated = seal(recovered.link, "audit.rotated", moved, **when)
    whole, lines = log.read_bytes(), b'{"torn\n' + recovered.line + rotated.line
    log.write_bytes(whole + lines)
    assert verify(log).problems == ()
    other = log.with_name("audit.jsonl.1")
    log.rename(other)
    other.write_bytes(whole)
    log.write_bytes(lines)
    assert verify(other, log).problems == verify(log).problems == ()
    # Where two crashes had left two lines, only the second was marked.
    log.write_bytes(b'{"to\n' + lines)
    assert verify(log).problems == ("line 1 is no record",)
    AuditLog(log).close()
    assert [record["event"] for record in read(log)] == ["audit.recovered", "audit.rotated"]


def test_a_closed_log_stays_closed(log: Path) -> None:
    audit = AuditLog(log)
    audit.record("server.stopped", {})
    audit.close()
    before = log.read_bytes()
    for late in (lambda: audit.record("auth.checked", {}), audit.follow):
        with pytest.raises(AuditUnavailable, match="is closed"):
            late()
    audit.close()
    assert log.read_bytes() == before
    AuditLog(log).close()


def test_a_second_writer_is_refused(log: Path) -> None:
    audit = AuditLog(log)
    with pytest.raises(AuditUnavailable, match="another imgctl server"):
        AuditLog(log)
    audit.close()


def test_a_file_moved_away_is_followed_by_a_new_one(log: Path) -> None:
    audit = AuditLog(log)
    os.rename(log, log.with_suffix(".1"))
    audit.record("auth.checked", {})
    audit.close()
    assert [record["event"] for record in read(log)] == ["audit.rotated", "auth.checked"]
    assert verify(log).problems == ()
    assert verify(log.with_suffix(".1")).problems == ()
    assert next(read(log))["prev_hash"] == verify(log.with_suffix(".1")).head


def test_a_full_disk_leaves_the_log_as_it_was(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = AuditLog(log)
    before = log.read_bytes()
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
    with pytest.raises(AuditUnavailable, match="10 of"):
        audit.record("auth.checked", {})
    monkeypatch.undo()
    assert log.read_bytes() == before
    audit.record("auth.checked", {})
    audit.close()
    assert verify(log).problems == ()


def test_many_threads_write_one_chain(log: Path) -> None:
    audit = AuditLog(log)
    threads = [
        threading.Thread(target=lambda: [audit.record("auth.checked", {}) for _ in range(20)])
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.close()
    assert verify(log).records == 204
    assert verify(log).problems == ()


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_record_that_failed_is_not_in_the_log_and_the_next_one_is(
    log: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    audit = AuditLog(log)
    before, head = log.read_bytes(), audit.head

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(AuditUnavailable, match=os.strerror(number)):
        audit.record("promotion.requested", {}, durable=True)
    monkeypatch.undo()
    assert (log.read_bytes(), audit.head) == (before, head)
    audit.record("auth.checked", {}, durable=True)
    audit.close()
    assert verify(log).problems == ()
    assert verify(log).records == 5


def test_a_record_that_can_not_be_taken_back_is_gone_on_from(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails, and so does undoing: the file says what there is."""
    audit = AuditLog(log)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(AuditUnavailable):
        audit.record("promotion.requested", {"audit_id": "pr_1"}, durable=True)
    monkeypatch.undo()
    audit.record("two", {}, durable=True)
    # It is under way like any other, in a file that knows of no other.
    log.rename(log.with_suffix(".1"))
    audit.follow()
    audit.close()
    assert [record["event"] for record in read(log.with_suffix(".1"))][-2:] == [
        "promotion.requested",
        "two",
    ]
    assert verify(log.with_suffix(".1"), log).problems == ()
    again = AuditLog(log)
    assert [entry["audit_id"] for entry in again.interrupted] == ["pr_1"]
    again.close()


def test_a_half_written_line_that_can_not_be_taken_back_is_marked(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = AuditLog(log)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "no")

    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(AuditUnavailable):
        audit.record("one", {})
    monkeypatch.undo()
    audit.record("two", {})
    audit.close()
    assert [record["event"] for record in read(log)][-2:] == ["audit.recovered", "two"]
    assert verify(log).problems == ()


def test_a_descriptor_that_somebody_closed_is_opened_again(log: Path) -> None:
    audit = AuditLog(log)
    assert audit._file is not None
    os.close(audit._file._fd)
    with pytest.raises(AuditUnavailable):
        audit.record("auth.checked", {})
    audit.record("auth.checked", {})
    audit.close()
    assert verify(log).records == 5
    assert verify(log).problems == ()


def test_a_clock_that_steps_back_changes_no_order(log: Path) -> None:
    hours = iter([12, 11, 23])
    audit = AuditLog(log, now=lambda: datetime(2026, 1, 1, next(hours), tzinfo=UTC))
    for _ in range(3):
        audit.record("auth.checked", {})
    audit.close()
    assert [record["seq"] for record in read(log)] == [1, 2, 3, 4, 5, 6, 7]
    assert verify(log).problems == ()


def test_nobody_fills_the_disk_with_one_field(log: Path) -> None:
    audit = AuditLog(log)
    audit.record("auth.checked", {"actor": {"name": "x" * 1_000_000}, "refs": ["y" * 1_000_000]})
    audit.close()
    assert log.stat().st_size < 20_000
    assert verify(log).problems == ()


def test_a_last_record_of_any_length_is_found(log: Path) -> None:
    audit = AuditLog(log)
    audit.record("promotion.requested", {"items": ["x" * 4000] * 200})
    audit.close()
    again = AuditLog(log)
    again.record("auth.checked", {})
    again.close()
    assert [record["seq"] for record in read(log)][-2:] == [5, 6]
    assert verify(log).problems == ()


def test_files_that_gzip_made_are_read_whatever_they_are_called(log: Path, tmp_path: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    older, newer = tmp_path / "audit.jsonl.1", tmp_path / "audit.jsonl.gz"
    older.write_bytes(gzip.compress(b"".join(lines[:2])))
    newer.write_bytes(b"".join(lines[2:]))
    assert verify(older, newer) == verify(log)
    assert list(read(older, newer)) == list(read(log))
    packed = gzip.compress(lines[0])
    # Cut off, with another length, and with what is no compressed data after the header.
    for broken in (packed[:-20], packed[:-4] + b"oops", packed[:10] + b"\xff" * 20):
        older.write_bytes(broken)
        with pytest.raises(AuditUnavailable, match=r"can't be read: .+"):
            verify(older, newer)


def test_of_very_many_problems_the_number_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("nothing\n" * 5000)
    problems = verify(path, expect_head="0" * 64).problems
    assert len(problems) == MAX_PROBLEMS + 2
    assert problems[0] == "line 1 is no record"
    assert problems[-2] == f"and {5000 - MAX_PROBLEMS} more problems"
    assert "expected hash" in problems[-1]
    path.write_text("nothing\n" * MAX_PROBLEMS)
    assert len(verify(path).problems) == MAX_PROBLEMS


def test_what_has_no_record_at_all_is_no_log(log: Path, tmp_path: Path) -> None:
    empty, other = tmp_path / "empty", tmp_path / "server.toml"
    empty.write_bytes(b"")
    other.write_text("[server]\n")
    assert list(read(empty)) == []
    with pytest.raises(AuditUnavailable, match=r"server\.toml is no audit log"):
        list(read(log, other))


def test_an_expected_hash_that_is_empty_is_in_no_log(log: Path) -> None:
    assert verify(log, expect_head="").problems != ()


def test_what_is_no_regular_file_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(AuditUnavailable, match="no regular file"):
        AuditLog(Path("/dev/null"))


def test_what_can_not_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditUnavailable, match="can't be written"):
        AuditLog(tmp_path / "file" / "audit.jsonl")
    with pytest.raises(AuditUnavailable, match="can't be read"):
        list(read(tmp_path / "none"))
