"""The file under an audit log: one writer, whole lines, and nothing half-written left."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from imgctl_core.audit.chain import Link, parse
from imgctl_core.errors import AuditUnavailable

#: How far back from the end the last record is looked for at first; four times as far
#: each time that it isn't there.
_TAIL: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Tail:
    """How a file ends: its last record's place in the chain, and a line that was cut."""

    link: Link | None
    torn: bytes = b""

    @property
    def torn_sha256(self) -> str:
        return hashlib.sha256(self.torn).hexdigest()


class LogFile:
    """An audit log's file, opened for appending and locked against other processes."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._size = os.fstat(fd).st_size

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

    def accept(self) -> None:
        """Take the file's size as it is now for the right one."""
        self._size = self.actual_size

    def tail(self) -> Tail:
        """Return how the file ends."""
        return tail_of(self._fd)

    def rename(self, to: Path) -> None:
        """Give the file another name, with all that is in it on the disk.

        Raises:
            OSError: it could not be done, or another file has that name.
        """
        if to.exists():
            raise OSError(f"it is full, and its next name {to.name} is taken")
        os.fsync(self._fd)
        self._path.rename(to)
        sync_folder(to.parent)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)


def last_link(path: Path) -> Link | None:
    """Return the place of a file's last record in its chain, None when it has none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return tail_of(fd).link
    except OSError:
        return None
    finally:
        os.close(fd)


def tail_of(fd: int) -> Tail:
    """Return how an open file ends."""
    size, length = os.fstat(fd).st_size, _TAIL
    while True:
        start = max(0, size - length)
        end = os.pread(fd, length, start)
        lines = end.removesuffix(b"\n").split(b"\n")
        # The first line may have begun before.
        whole = lines if start == 0 else lines[1:]
        last = next((record for line in reversed(whole) if (record := parse(line))), None)
        if last is not None or start == 0:
            break
        length *= 4
    torn = b"" if not end or end.endswith(b"\n") else lines[-1]
    link = None if last is None else Link(int(str(last["seq"])), str(last["hash"]))
    return Tail(link, torn)


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
