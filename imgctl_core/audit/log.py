"""The one writer of an audit log: the chain goes on through failures, rotations and crashes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from imgctl_core.audit.chain import Link, Sealed, seal
from imgctl_core.audit.copies import Copy
from imgctl_core.audit.file import LogFile
from imgctl_core.audit.opening import opening
from imgctl_core.audit.places import rotated
from imgctl_core.audit.tail import Tail, last_of
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
            AuditUnavailable: it could not be written, or the log is closed. It is not in the
                log, unless a disk that fails let nobody take it back: then it is for good.
        """
        with self._ready():
            return self._append(event, fields, durable=durable)

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
            AuditUnavailable: the new one can't be written, or the log is closed.
        """
        with self._ready():
            pass

    def close(self) -> None:
        """Give the file back, and let the copies have what they have not yet."""
        with self._lock:
            self._closed = True
            self._let_go()
        for copy in self._copies:
            copy.close()

    def _begin(self) -> None:
        """Open the file as a new process does: only the files know where the chain stands."""
        self._file = LogFile.open(self._path)
        tail = self._file.tail()
        self._link, before = last_of(self._path, tail)
        self._underway.scan(before)
        self._take_up(tail, previous=before.name)

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """Hold the log, with the right file open, as it should be."""
        with self._lock:
            if self._closed:
                raise AuditUnavailable(
                    "the audit log is closed: the server ends", fix="ask again when it is back"
                )
            try:
                self._find_file()
                yield
            except OSError as error:
                # Nothing is taken for granted: the next record opens the file anew.
                self._let_go()
                raise _unavailable(self._path, error) from error

    def _find_file(self) -> None:
        file = self._file
        if file is None or file.moved():
            self._open()
            return
        aside = rotated(self._path, self._link.seq)
        if self._max_bytes and file.size >= self._max_bytes and file.put_aside(aside):
            self._open(previous=aside.name)
        elif (found := file.actual_size) < (expected := file.size):
            _LOG.error("somebody cut the audit log from %d bytes to %d", expected, found)
            self._take_up(file.tail(), cut=(expected, found))

    def _open(self, *, previous: str = "") -> None:
        """Open the file that has the name now, and go on in it."""
        new = LogFile.open(self._path)
        self._let_go()
        self._file = new
        tail = new.tail()
        if tail.link not in (None, self._link):
            # A record that failed, and could not be taken back.
            for sealed in new.after(self._link):
                self._written(sealed, durable=True)
        self._take_up(tail, previous=previous)

    def _take_up(self, tail: Tail, previous: str = "", cut: tuple[int, int] | None = None) -> None:
        """Go on behind what the file ends with, and say what is not as it was left."""
        if found := opening(self._link, tail, self._underway.entries, previous, cut):
            self._append(*found, durable=True, before=b"\n" if tail.open else b"")

    def _append(
        self, event: str, fields: Mapping[str, JSON], *, durable: bool, before: bytes = b""
    ) -> str:
        if self._file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        ts = self._now().isoformat(timespec="microseconds")
        sealed = seal(self._link, event, fields, ts=ts, boot_id=self._boot_id)
        self._file.append(before + sealed.line, durable=durable)
        self._written(sealed, durable=durable)
        return sealed.link.head

    def _written(self, sealed: Sealed, *, durable: bool) -> None:
        self._link = sealed.link
        self._underway.note(sealed.record)
        for copy in self._copies:
            copy.take(sealed.line, must_have=durable)

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _unavailable(path: Path, error: OSError) -> AuditUnavailable:
    return AuditUnavailable(
        f"the audit log {path} can't be written: {error.strerror or error}",
        fix="make room or mend its permissions; nothing is promoted without it",
    )
