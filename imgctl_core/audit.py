"""The audit log: JSON lines, append-only, each chained to the one before it.

`hash` is the hex SHA-256 of the ASCII `prev_hash` followed by the record as JSON with
sorted keys, no spaces, ASCII only, without `hash`. An edit, a gap, a swap or an inserted
line breaks the chain; a cut-off tail does not, unless the head is kept elsewhere: every
promotion's answer carries it, and `verify` takes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgctl_core.errors import AuditUnavailable
from imgctl_core.models import JSON

GENESIS = "0" * 64
SCHEMA = 1

#: How far back from the end the last line is looked for. Records are far smaller.
_TAIL = 1 << 20


def default_audit_log() -> Path:
    """Return `$XDG_STATE_HOME/imgctl/audit.jsonl`, as the XDG base directory spec says."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "imgctl" / "audit.jsonl"


def chain_hash(prev_hash: str, record: Mapping[str, JSON]) -> str:
    """Return the hash of a record, which must hold everything but `hash`."""
    return hashlib.sha256(prev_hash.encode("ascii") + _canonical(record)).hexdigest()


def _canonical(record: Mapping[str, JSON]) -> bytes:
    # ASCII only: U+2028 would split a line, and a lone surrogate could not be written.
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


class AuditLog:
    """The one writer of an audit log. Safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create the log and take up its chain.

        Raises:
            AuditUnavailable: it can't be written, or another process writes it.
        """
        self._path = path
        self._lock = threading.Lock()
        self._boot_id = uuid.uuid4().hex
        self._seq = 0
        self._head = GENESIS
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = self._open()
        except OSError as error:
            raise _unavailable(path, error) from error
        self._take_up_chain()

    @property
    def head(self) -> str:
        """The hash of the last record."""
        return self._head

    def record(self, event: str, fields: Mapping[str, JSON], *, durable: bool = False) -> str:
        """Append one record and return its hash.

        With `durable` it is on the disk when this returns.

        Raises:
            AuditUnavailable: it could not be written; the log is as it was before.
        """
        with self._lock:
            try:
                self._follow_rotation()
                return self._append(event, fields, durable=durable)
            except OSError as error:
                raise _unavailable(self._path, error) from error

    def close(self) -> None:
        with self._lock:
            os.close(self._fd)

    def _open(self) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise AuditUnavailable(
                f"another imgctl server writes the audit log {self._path}",
                fix="stop it, or give this one a log of its own with IMGCTL_AUDIT_LOG",
            ) from None
        except OSError:
            os.close(fd)
            raise
        return fd

    def _take_up_chain(self) -> None:
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, _TAIL, max(0, size - _TAIL))
        torn = bool(tail) and not tail.endswith(b"\n")
        lines = tail.removesuffix(b"\n").split(b"\n")
        last = next((record for line in reversed(lines) if (record := _parse(line))), None)
        if last is not None:
            self._seq, self._head = int(str(last["seq"])), str(last["hash"])
        if torn:
            # A crash cut the last write. The rest of it stays, marked, for whoever asks.
            os.write(self._fd, b"\n")
            digest = hashlib.sha256(lines[-1]).hexdigest()
            self.record("audit.recovered", {"torn_sha256": digest}, durable=True)

    def _follow_rotation(self) -> None:
        """Go on in a new file when the old one was moved away, chain and all."""
        ours = os.fstat(self._fd)
        try:
            named = self._path.stat()
        except FileNotFoundError:
            named = None
        if named is not None and (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino):
            return
        old, self._fd = self._fd, self._open()
        os.close(old)
        self._append("audit.rotated", {"previous_seq": self._seq}, durable=True)

    def _append(self, event: str, fields: Mapping[str, JSON], *, durable: bool) -> str:
        record: dict[str, JSON] = {
            **fields,
            "schema": SCHEMA,
            "seq": self._seq + 1,
            "ts": datetime.now(UTC).isoformat(timespec="microseconds"),
            "boot_id": self._boot_id,
            "event": event,
            "prev_hash": self._head,
        }
        digest = chain_hash(self._head, record)
        line = _canonical({**record, "hash": digest}) + b"\n"
        before = os.fstat(self._fd).st_size
        written = os.write(self._fd, line)
        if written != len(line):
            os.ftruncate(self._fd, before)
            raise OSError(f"only {written} of {len(line)} bytes could be written")
        if durable:
            os.fsync(self._fd)
        self._seq, self._head = self._seq + 1, digest
        return digest


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading a whole log came to. It is sound when there are no problems."""

    records: int
    head: str
    problems: tuple[str, ...]


def read(path: Path) -> Iterator[dict[str, JSON]]:
    """Yield the records of a log, oldest first; lines that are no records are left out.

    Raises:
        AuditUnavailable: the file can't be read.
    """
    for _, _, record in _lines(path):
        if record is not None:
            yield record


def verify(path: Path, expect_head: str = "") -> Verification:
    """Check the chain of a log from its first line to its last.

    Args:
        path: the log.
        expect_head: a hash that must be somewhere in the log; with one that was kept
            elsewhere, a tail that was cut off is found too.

    Raises:
        AuditUnavailable: the file can't be read.
    """
    problems: list[str] = []
    head, seq, count = GENESIS, 0, 0
    torn: tuple[int, str] | None = None
    seen = not expect_head
    for number, line, record in _lines(path):
        if record is None:
            if torn is not None:
                problems.append(f"line {torn[0]} is no record")
            torn = (number, hashlib.sha256(line).hexdigest())
            continue
        if torn is not None:
            if record["event"] != "audit.recovered" or record.get("torn_sha256") != torn[1]:
                problems.append(f"line {torn[0]} is no record")
            torn = None
        stored = record.pop("hash")
        if count == 0 and record["event"] == "audit.rotated":
            head, seq = str(record["prev_hash"]), int(str(record["seq"])) - 1
        if record["prev_hash"] != head:
            problems.append(f"line {number} does not follow the line before it")
        if record["seq"] != seq + 1:
            problems.append(f"line {number} has number {record['seq']}, expected {seq + 1}")
        if chain_hash(str(record["prev_hash"]), record) != stored:
            problems.append(f"line {number} was changed")
        head, seq, count = str(stored), int(str(record["seq"])), count + 1
        seen = seen or head == expect_head
    if torn is not None:
        problems.append(f"line {torn[0]} is no record")
    if not seen:
        problems.append(f"no record has the expected hash {expect_head}")
    return Verification(count, head, tuple(problems))


def _lines(path: Path) -> Iterator[tuple[int, bytes, dict[str, JSON] | None]]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                stripped = line.removesuffix(b"\n")
                yield number, stripped, _parse(stripped)
    except OSError as error:
        raise AuditUnavailable(
            f"the audit log {path} can't be read: {error.strerror}",
            fix="name it with --file or IMGCTL_AUDIT_LOG",
        ) from error


def _parse(line: bytes) -> dict[str, JSON] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or type(record.get("seq")) is not int:
        return None
    strings = ("event", "prev_hash", "hash", "ts")
    return record if all(type(record.get(key)) is str for key in strings) else None


def _unavailable(path: Path, error: OSError) -> AuditUnavailable:
    return AuditUnavailable(
        f"the audit log {path} can't be written: {error.strerror or error}",
        fix="make room or mend its permissions; nothing is promoted without it",
    )
