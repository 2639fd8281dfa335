"""The file under an audit log: one writer, whole lines, and nothing half-written left."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from imgctl_core.audit.chain import Link, Sealed, parse
from imgctl_core.audit.tail import Tail, link_of, tail_of
from imgctl_core.errors import AuditUnavailable

_LOG = logging.getLogger("imgctl.audit")


class LogFile:
    """An audit log's file, opened for appending and locked against other processes."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._stuck = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file.

        Raises:
            OSError: it can't be opened for writing.
            AuditUnavailable: another process writes it.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = not path.exists()
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError("it is no regular file")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if new:
                sync_folder(path.parent)
            _close_to_others(path, fd)
            return cls(path, fd)
        except BlockingIOError:
            os.close(fd)
            raise AuditUnavailable(
                f"another imgctl server writes the audit log {path}",
                fix="stop it, or give this one a log of its own with IMGCTL_AUDIT_LOG",
            ) from None
        except OSError:
            os.close(fd)
            raise

    @property
    def size(self) -> int:
        """How large the file is, in bytes, when nobody else touched it."""
        return self._size

    @property
    def actual_size(self) -> int:
        return os.fstat(self._fd).st_size

    def moved(self) -> bool:
        """Return whether the name is no longer this file's: it was moved away or removed."""
        ours = os.fstat(self._fd)
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return True
        return (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino)

    def append(self, line: bytes, *, durable: bool) -> None:
        """Write one line; with `durable` it is on the disk when this returns.

        Raises:
            OSError: it could not be written. What was written of it is taken back, if
                that can be done.
        """
        before = self.actual_size
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes could be written")
            if durable:
                os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, before)
            raise
        self._size = before + len(line)

    def tail(self) -> Tail:
        """Return how the file ends."""
        return tail_of(self._fd)

    def after(self, link: Link) -> Iterator[Sealed]:
        """Yield the records that follow a place in the chain, which may be before the file."""
        with os.fdopen(os.dup(self._fd), "rb") as stream:
            stream.seek(0)
            for line in stream:
                # Most lines are not even parsed.
                record = parse(line) if link.head.encode("ascii") in line else None
                if record is not None and record["prev_hash"] == link.head:
                    link = link_of(record)
                    yield Sealed(record, line.removesuffix(b"\n") + b"\n", link)

    def put_aside(self, to: Path) -> bool:
        """Give the file another name, with all that is in it on the disk.

        Returns whether it has that now. When it can't be renamed that is logged, once: a log
        that grows on is better than none.

        Raises:
            OSError: it was renamed, and what is in it may not be on the disk.
        """
        try:
            if to.exists():
                raise FileExistsError(errno.EEXIST, "another file has that name")
            self._path.rename(to)
        except OSError as error:
            if not self._stuck:
                _LOG.error("the audit log grows on, it can't be moved to %s: %s", to, error)
            self._stuck = True
            return False
        os.fsync(self._fd)
        sync_folder(to.parent)
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)


def _close_to_others(path: Path, fd: int) -> None:
    """Take from a file that was there what everybody may do; a group that reads it may be meant."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & stat.S_IRWXO:
        _LOG.warning("the audit log %s had mode %04o, and is not for everybody", path, mode)
        with contextlib.suppress(PermissionError):  # somebody else's file, which we may write
            os.fchmod(fd, mode & ~stat.S_IRWXO)


def sync_folder(folder: Path) -> None:
    """Let a file's new name survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some file systems know no such thing, and need none.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)
