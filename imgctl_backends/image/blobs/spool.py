"""Bytes kept for another attempt: a little in memory, then a file, within a budget.

A registry that broke an upload off wants it from the start again. What was read from the
source by then is fed from here, so that a broken upload does not cost a second download.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class _Idle:
    """A file that waits to be written over, and how much of the disk it takes."""

    extent: int
    handle: int


def _extent(files: list[_Idle]) -> int:
    return sum(file.extent for file in files)


class Spool:
    """What all copies together may keep on disk, and where.

    The files have no names: they vanish with the process, however that ends. Up to half
    of the budget stays in files that were used before: writing over them costs a tenth of
    what new ones cost where the system has to find fresh memory for them (measured in a
    virtual machine: 0.1 s against 0.2 to 1.3 s of CPU for 512 MB).
    """

    def __init__(self, budget: int, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._free = budget
        self._idle: list[_Idle] = []  # their bytes count as free
        self._idle_room = budget // 2

    @property
    def free(self) -> int:
        """Return how many bytes may still be kept."""
        return self._free

    def open(self, size: int) -> SpoolFile | None:
        """Return a file for `size` bytes, None when they don't fit or can't be kept."""
        with self._lock:
            if size > self._free:
                return None
            self._free -= size
            idle = self._take_idle(size)
        try:
            used = idle or _Idle(0, _nameless(self._folder))
        except OSError:
            with self._lock:
                self._free += size
            return None
        return SpoolFile(self, size, used.handle, max(size, used.extent))

    def give_back(self, size: int, extent: int, handle: int) -> None:
        """Take a file back, to be written over or closed."""
        with self._lock:
            self._free += size
            if _extent(self._idle) + extent <= self._idle_room:
                self._idle.append(_Idle(extent, handle))
                return
        os.close(handle)

    def close(self) -> None:
        """Close the files that wait to be used again."""
        with self._lock:
            idle, self._idle, self._idle_room = self._idle, [], 0
        for file in idle:
            os.close(file.handle)

    def _take_idle(self, size: int) -> _Idle | None:
        """Return the best file to write over, and close those that there is no room for."""
        best = min(self._idle, key=lambda file: abs(file.extent - size), default=None)
        if best is not None:
            self._idle.remove(best)
        while self._idle and _extent(self._idle) > self._free:
            os.close(self._idle.pop(0).handle)
        return best


class SpoolFile:
    """One blob's bytes on disk."""

    def __init__(self, spool: Spool, size: int, handle: int, extent: int) -> None:
        self._spool = spool
        self._size = size
        self._handle = handle
        self._extent = extent
        self._open = True

    def write(self, start: int, data: bytes) -> bool:
        """Keep bytes at a position; return whether there was room on the disk."""
        view = memoryview(data)
        try:
            while view:
                done = os.pwrite(self._handle, view, start)
                view, start = view[done:], start + done
        except OSError:
            return False
        return True

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self._handle, size, start)

    def close(self) -> None:
        """Give the room back. Idempotent."""
        if self._open:
            self._open = False
            self._spool.give_back(self._size, self._extent, self._handle)


class Kept:
    """What of one blob has been read, as far as it can be had again.

    The first `in_memory` bytes are held in memory. A larger blob goes to the spool whole;
    where that has no room, the last `in_memory` bytes stay, which is enough for a
    registry that knows how far it got. Use it in a `with`.
    """

    def __init__(self, spool: Spool, size: int, in_memory: int) -> None:
        self._spool = spool
        self._size = size
        self._in_memory = in_memory
        self._pieces: deque[bytes] = deque()
        self._file: SpoolFile | None = None
        self._asked = False
        self.start = 0
        self.end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def append(self, data: bytes) -> None:
        """Keep what was read next."""
        if self.end + len(data) > self._in_memory and not self._asked:
            self._asked = True
            self._move_to_disk()
        if self._file is not None:
            if self._file.write(self.end, data):
                self.end += len(data)
                return
            self._drop_file()
        self._pieces.append(data)
        self.end += len(data)
        while self.end - self.start > max(self._in_memory, len(data)):
            self.start += len(self._pieces.popleft())

    def read(self, position: int, size: int) -> bytes:
        """Return up to `size` kept bytes from a position between `start` and `end`."""
        if self._file is not None:
            return self._file.read(position, min(size, self.end - position))
        at = self.start
        for piece in self._pieces:
            if position < at + len(piece):
                return piece[position - at :][:size]
            at += len(piece)
        return b""

    def has(self, position: int) -> bool:
        """Return whether everything from a position to the end can be had again."""
        return self.start <= position <= self.end

    def clear(self) -> None:
        """Forget everything, and give the room back."""
        self._pieces.clear()
        self._asked = False
        self.start = self.end = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _move_to_disk(self) -> None:
        self._file = self._spool.open(self._size)
        if self._file is None:
            return
        position = 0
        for piece in self._pieces:
            if not self._file.write(position, piece):
                self._file.close()
                self._file = None
                return
            position += len(piece)
        self._pieces.clear()

    def _drop_file(self) -> None:
        # The disk is full: keep at least what is read from here on.
        if self._file is not None:
            self._file.close()
            self._file = None
        self.start = self.end


def _nameless(folder: Path | None) -> int:
    where = str(folder) if folder is not None else tempfile.gettempdir()
    with contextlib.suppress(OSError):
        return os.open(where, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    handle, name = tempfile.mkstemp(prefix="imgctl-", dir=where)
    Path(name).unlink()
    return handle
