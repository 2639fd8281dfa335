"""The audit log: what breaks its chain is found, what can't be written is said."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from imgctl_core.audit import GENESIS, AuditLog, read, verify
from imgctl_core.errors import AuditUnavailable


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


@pytest.mark.parametrize("tamper", [_edit, _delete, _swap, _insert, _garbage, _first])
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


def test_what_can_not_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditUnavailable, match="can't be written"):
        AuditLog(tmp_path / "file" / "audit.jsonl")
    with pytest.raises(AuditUnavailable, match="can't be read"):
        list(read(tmp_path / "none"))
