"""What all layouts of one endpoint have in common, and how a blob of one is read."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from imgctl_backends.image.endpoint import Address, ImageEndpoint, ImageSettings
from imgctl_backends.image.layout import disk


class Layouts:
    """All layouts of one endpoint: what a `Registry` is, on disk."""

    def __init__(self, endpoint: ImageEndpoint, settings: ImageSettings) -> None:
        self.address: Address = endpoint.address
        self.settings = settings
        self.identity = endpoint.identity
        self.root = Path(self.address.host)
        self._lock = threading.Lock()
        self._swept: set[str] = set()

    def __str__(self) -> str:
        return f"oci-layout:{self.root}"

    def close(self) -> None:
        """Nothing is kept open."""

    def first_write(self, name: str) -> bool:
        """Whether this repository is written to for the first time in this process."""
        with self._lock:
            new = name not in self._swept
            self._swept.add(name)
            return new


class Reading:
    """A blob on disk, read as a registry's answer is."""

    def __init__(self, where: str, handle: int) -> None:
        self.where = where
        self._where = where
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        with disk.explained(self._where):
            return os.read(self._handle, size)

    def skip(self, size: int) -> None:
        """Leave out this many bytes."""
        with disk.explained(self._where):
            os.lseek(self._handle, size, os.SEEK_CUR)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
