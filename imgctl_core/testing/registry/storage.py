"""Where blobs are kept: in memory, or in a folder for those too big for that."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from imgctl_core.testing.httpd import FileBody

_PIECE: Final = 1024 * 1024


class Draft(Protocol):
    """Content that is still coming in."""

    size: int

    def append(self, piece: bytes) -> None: ...
    def pieces(self) -> Iterator[bytes]: ...
    def discard(self) -> None: ...


class Storage(Protocol):
    """Content by digest, whichever repository it is in. Safe from any thread."""

    def draft(self) -> Draft: ...
    def keep(self, draft: Draft, digest: str) -> None: ...
    def put(self, content: bytes, digest: str) -> None: ...
    def size(self, digest: str) -> int | None: ...
    def body(self, digest: str, offset: int, length: int) -> bytes | FileBody: ...
    def drop(self, digest: str) -> None: ...


def digest_of_draft(draft: Draft, algorithm: str) -> str:
    """Return the digest of all that came in so far."""
    hasher = hashlib.new(algorithm)
    for piece in draft.pieces():
        hasher.update(piece)
    return f"{algorithm}:{hasher.hexdigest()}"


class _MemoryDraft:
    def __init__(self) -> None:
        self.size = 0
        self.parts: list[bytes] = []

    def append(self, piece: bytes) -> None:
        self.parts.append(piece)
        self.size += len(piece)

    def pieces(self) -> Iterator[bytes]:
        yield from self.parts

    def discard(self) -> None:
        self.parts.clear()


class MemoryStorage:
    """Everything in memory, gone with the process."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def draft(self) -> Draft:
        return _MemoryDraft()

    def keep(self, draft: Draft, digest: str) -> None:
        self._blobs[digest] = b"".join(draft.pieces())

    def put(self, content: bytes, digest: str) -> None:
        self._blobs[digest] = content

    def size(self, digest: str) -> int | None:
        content = self._blobs.get(digest)
        return None if content is None else len(content)

    def body(self, digest: str, offset: int, length: int) -> bytes | FileBody:
        content = self._blobs[digest]
        return content if length == len(content) else content[offset : offset + length]

    def drop(self, digest: str) -> None:
        self._blobs.pop(digest, None)


class _FileDraft:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        path.touch()

    def append(self, piece: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(piece)
        self.size += len(piece)

    def pieces(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


class FolderStorage:
    """A file for each blob, under `folder`. Manifests and tags are not kept there."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._drafts = folder / "uploads"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._drafts.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()

    def draft(self) -> Draft:
        return _FileDraft(self._drafts / uuid.uuid4().hex)

    def keep(self, draft: Draft, digest: str) -> None:
        if not isinstance(draft, _FileDraft):
            raise TypeError("that draft belongs to another storage")
        with self._lock:
            draft.path.replace(self._path(digest))

    def put(self, content: bytes, digest: str) -> None:
        draft = self.draft()
        draft.append(content)
        self.keep(draft, digest)

    def size(self, digest: str) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return self._path(digest).stat().st_size
        return None

    def body(self, digest: str, offset: int, length: int) -> bytes | FileBody:
        return FileBody(self._path(digest), offset, length)

    def drop(self, digest: str) -> None:
        self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.replace(":", "-")
