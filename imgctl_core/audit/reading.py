"""Reading an audit log, and checking that its chain is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgctl_core.audit.chain import OPENING, Link, is_intact, parse
from imgctl_core.audit.places import default_audit_log
from imgctl_core.errors import AuditUnavailable
from imgctl_core.models import JSON


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading a log came to. It is sound when there are no problems.

    `first` is the number of the first record: more than 1 says that older files were not
    looked at. `head` is the hash of the last.
    """

    records: int
    head: str
    problems: tuple[str, ...]
    first: int = 1


def read(*paths: Path) -> Iterator[dict[str, JSON]]:
    """Yield the records of a log's files, in that order; lines that are no records are left out.

    Raises:
        AuditUnavailable: a file can't be read.
    """
    for path in paths:
        for line in _lines(path):
            if line.record is not None:
                yield line.record


def verify(*paths: Path, expect_head: str = "") -> Verification:
    """Check the chain of a log from its first line to its last.

    Args:
        paths: its files, the oldest first; by default the one log of this machine.
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

    expect_head: str
    several: bool
    problems: list[str] = field(default_factory=list)
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
        if self.expect_head and not self.seen:
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
        where = f"{line.path}: line" if self.several else "line"
        self.problems.append(f"{where} {line.number} {what}")


def _sha256(lines: list[_Line]) -> str:
    return hashlib.sha256(b"\n".join(line.text for line in lines)).hexdigest()


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                text = line.removesuffix(b"\n")
                yield _Line(path, number, text, parse(text))
    except OSError as error:
        raise AuditUnavailable(
            f"the audit log {path} can't be read: {error.strerror}",
            fix="name it with --file or IMGCTL_AUDIT_LOG",
        ) from error
