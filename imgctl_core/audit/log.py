"""The one writer of an audit log: the chain goes on through failures, rotations and crashes."""

from __future__ import annotations

import errno
import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from imgctl_core.audit.chain import Link, parse, seal
from imgctl_core.audit.copies import Copy
from imgctl_core.audit.file import LogFile, Tail, last_link
from imgctl_core.audit.places import rotated, siblings
from imgctl_core.audit.unfinished import Unfinished
from imgctl_core.errors import AuditUnavailable
from imgctl_core.models import JSON

_LOG = logging.getLogger("imgctl.audit")

#: How long a promotion waits for the copies that must have its record, in seconds.
SETTLE_SECONDS = 5.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """Appends records to a file, and passes them to copies. Safe to use from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 0,
        copies: Sequence[Copy] = (),
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Open or create the log and take up its chain.

        Args:
            path: the file.
            max_bytes: a larger file is moved aside and a new one begun; 0 for never.
            copies: what else gets every record. They are closed with the log.
            now: the clock.

        Raises:
            AuditUnavailable: it can't be written, or another process writes it.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._copies = tuple(copies)
        self._now = now
        self._lock = threading.Lock()
        self._boot_id = uuid.uuid4().hex
        self._link = Link()
        self._underway = Unfinished()
        self._file: LogFile | None = None
        self._closed = False
        with self._lock:
            try:
                self._begin()
            except OSError as error:
                self._let_go()
                raise _unavailable(path, error) from error
            #: Promotions that a crash cut off before this process began.
            self.interrupted = tuple(self._underway.entries)

    @property
    def head(self) -> str:
        """The hash of the last record."""
        return self._link.head

    def record(self, event: str, fields: Mapping[str, JSON], *, durable: bool = False) -> str:
        """Append one record and return its hash.

        With `durable` it is on the disk when this returns.

        Raises:
            AuditUnavailable: it could not be written, and it is not in the log.
        """
        with self._lock:
            try:
                self._ready()
                return self._append(event, fields, durable=durable)
            except OSError as error:
                # Nothing is taken for granted: the next record opens the file anew.
                self._let_go()
                raise _unavailable(self._path, error) from error

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until every copy that must have all records has them.

        Raises:
            AuditUnavailable: one has not.
        """
        for copy in self._copies:
            copy.settle(seconds)

    def follow(self) -> None:
        """Look now whether the file was moved away, and begin a new one then.

        Raises:
            AuditUnavailable: the new one can't be written.
        """
        with self._lock:
            try:
                self._ready()
            except OSError as error:
                self._let_go()
                raise _unavailable(self._path, error) from error

    def close(self) -> None:
        """Give the file back, and let the copies have what they have not yet."""
        for copy in self._copies:
            copy.close()
        with self._lock:
            self._closed = True
            self._let_go()

    def _begin(self) -> None:
        """Open the file as a new process does."""
        self._file = LogFile.open(self._path)
        tail = self._file.tail()
        before = self._path
        if tail.link is not None:
            self._link = tail.link
        else:
            # It was moved away while no server ran, or as one was cut off.
            found = [(link, path) for path in siblings(self._path) if (link := last_link(path))]
            if found:
                self._link, before = max(found, key=lambda each: each[0].seq)
        self._underway.scan(before)
        self._mark_torn(tail)
        if before != self._path:
            self._append("audit.rotated", self._rotation(before.name), durable=True)

    def _ready(self) -> None:
        """Have the right file open, as it should be."""
        if self._closed:
            raise OSError(errno.EBADF, "it was closed")
        if self._file is None:
            self._take_up_again()
        elif self._file.moved():
            self._go_on_in_new_file("")
        elif self._max_bytes and self._file.size >= self._max_bytes:
            aside = rotated(self._path, self._link.seq)
            self._file.rename(aside)
            self._go_on_in_new_file(aside.name)
        elif (found := self._file.actual_size) < (expected := self._file.size):
            _LOG.error("somebody cut the audit log from %d bytes to %d", expected, found)
            self._file.accept()
            sizes: dict[str, JSON] = {"expected_bytes": expected, "found_bytes": found}
            self._append("audit.truncated", sizes, durable=True)

    def _take_up_again(self) -> None:
        """Open the file after a failure: the record that failed is in it, or it isn't."""
        self._file = LogFile.open(self._path)
        tail = self._file.tail()
        if tail.link is not None and tail.link.seq >= self._link.seq:
            self._link = tail.link
            self._mark_torn(tail)
            return
        self._mark_torn(tail)
        if self._link.seq:
            self._append("audit.rotated", self._rotation(""), durable=True)

    def _go_on_in_new_file(self, previous: str) -> None:
        new = LogFile.open(self._path)
        if self._file is not None:
            self._file.close()
        self._file = new
        self._append("audit.rotated", self._rotation(previous), durable=True)

    def _rotation(self, previous: str) -> dict[str, JSON]:
        return {
            "previous_seq": self._link.seq,
            "previous_file": previous,
            "unfinished": [*self._underway.entries],
        }

    def _mark_torn(self, tail: Tail) -> None:
        """Keep what a crash left of a line, marked, for whoever asks."""
        if tail.torn and self._file is not None:
            self._file.append(b"\n", durable=False)
            self._append("audit.recovered", {"torn_sha256": tail.torn_sha256}, durable=True)

    def _append(self, event: str, fields: Mapping[str, JSON], *, durable: bool) -> str:
        if self._file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        ts = self._now().isoformat(timespec="microseconds")
        link, line = seal(self._link, event, fields, ts=ts, boot_id=self._boot_id)
        self._file.append(line, durable=durable)
        self._link = link
        if (record := parse(line)) is not None:
            self._underway.note(record)
        for copy in self._copies:
            copy.take(line)
        return link.head

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _unavailable(path: Path, error: OSError) -> AuditUnavailable:
    return AuditUnavailable(
        f"the audit log {path} can't be written: {error.strerror or error}",
        fix="make room or mend its permissions; nothing is promoted without it",
    )
