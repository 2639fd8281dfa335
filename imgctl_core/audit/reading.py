"""Reading an audit log, and checking that its chain is whole."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Final

from imgctl_core.audit.chain import OPENING, Link, is_intact, parse
from imgctl_core.audit.places import default_audit_log
from imgctl_core.errors import AuditUnavailable
from imgctl_core.models import JSON

#: Problems that are listed; of more there is only their number.
MAX_PROBLEMS: Final = 20

#: How every file of gzip begins: the magic number, and the one method that there is.
_GZIP: Final = b"\x1f\x8b\x08"

_NAME_IT: Final = "name the log with --file or IMGCTL_AUDIT_LOG"


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading a log came to. It is sound when there are no problems.

    Of very many `problems` the first are listed, and after them how many more there are.
    `first` is the number of the first record: more than 1 says that older files were not
    looked at. `head` is the hash of the last.
    """

    records: int
    head: str
    problems: tuple[str, ...]
    first: int = 1


def read(*paths: Path) -> Iterator[dict[str, JSON]]:
    """Yield the records of a log's files, in that order; lines that are no records are left out.

    Files that gzip made are read as what they were before.

    Raises:
        AuditUnavailable: a file can't be read, or has lines and none of them is a record.
    """
    for path in paths:
        lines = records = 0
        for line in _lines(path):
            lines += 1
            if line.record is not None:
                records += 1
                yield line.record
        if lines and not records:
            raise AuditUnavailable(
                f"{path} is no audit log: none of its lines is a record", fix=_NAME_IT
            )


def verify(*paths: Path, expect_head: str | None = None) -> Verification:
    """Check the chain of a log from its first line to its last.

    Args:
        paths: its files, the oldest first, also such as gzip made; by default the one log
            of this machine.
        expect_head: a hash that must be somewhere in the log; with one that was kept
            elsewhere, a tail that was cut off is found too.

    Raises:
        AuditUnavailable: a file can't be read.
    """
    check = _Check(expect_head, several=len(paths) > 1)
    for path in paths or (default_audit_log(),):
        for line in _lines(path):
            check.line(line)
        check.end_of_file()
    return check.result()


@dataclass(frozen=True, slots=True)
class _Line:
    path: Path
    number: int
    text: bytes
    record: dict[str, JSON] | None


@dataclass
class _Check:
    """Follows a chain line by line, and notes what is wrong with it."""

    expect_head: str | None
    several: bool
    problems: list[str] = field(default_factory=list)
    unlisted: int = 0
    link: Link = field(default_factory=Link)
    records: int = 0
    first: int = 1
    seen: bool = False
    torn: list[_Line] = field(default_factory=list)

    def line(self, line: _Line) -> None:
        if line.record is None:
            self.torn.append(line)
            return
        record = line.record
        self._rubbish(record if record["event"] in OPENING else {})
        seq, before = int(str(record["seq"])), str(record["prev_hash"])
        if self.records == 0 and record["event"] in OPENING:
            self.link, self.first = Link(seq - 1, before), seq
            if record["event"] == "audit.truncated":
                self._problem(line, "says that the file was cut, and what it held is not here")
        if before != self.link.head:
            self._problem(line, "does not follow the line before it")
        if seq != self.link.seq + 1:
            self._problem(line, f"has number {seq}, expected {self.link.seq + 1}")
        if not is_intact(line.text, record):
            self._problem(line, "was changed")
        self.link, self.records = Link(seq, str(record["hash"])), self.records + 1
        self.seen = self.seen or self.link.head == self.expect_head

    def end_of_file(self) -> None:
        """Note a line that was cut and never marked: no server has started since."""
        self._rubbish({})

    def result(self) -> Verification:
        problems = list(self.problems)
        if self.unlisted:
            problems.append(f"and {self.unlisted} more problems")
        if self.expect_head is not None and not self.seen:
            problems.append(f"no record has the expected hash {self.expect_head}")
        return Verification(self.records, self.link.head, tuple(problems), self.first)

    def _rubbish(self, after: Mapping[str, JSON]) -> None:
        """Note the lines that are no records, but for what the record after them marks."""
        torn, self.torn = self.torn, []
        marked = after.get("torn_sha256")
        # A second crash may have cut the record that was to mark the first one's line.
        if torn and _sha256(torn) == marked:
            return
        if torn and _sha256(torn[-1:]) == marked:
            torn.pop()
        for line in torn:
            self._problem(line, "is no record")

    def _problem(self, line: _Line, what: str) -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            self.unlisted += 1
            return
        where = f"{line.path}: line" if self.several else "line"
        self.problems.append(f"{where} {line.number} {what}")


def _sha256(lines: list[_Line]) -> str:
    return hashlib.sha256(b"\n".join(line.text for line in lines)).hexdigest()


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(_unpacked(stream), start=1):
                text = line.removesuffix(b"\n")
                yield _Line(path, number, text, parse(text))
    except (OSError, EOFError, zlib.error) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise AuditUnavailable(
            f"the audit log {path} can't be read: {why}", fix=_NAME_IT
        ) from error


def _unpacked(stream: BufferedReader) -> Iterable[bytes]:
    """Return the lines of a file, also of one that logrotate compressed."""
    # The content says so, not the name: a file may have got any.
    return gzip.GzipFile(fileobj=stream) if stream.peek(3).startswith(_GZIP) else stream
