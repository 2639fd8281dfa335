"""The files of one version as planned: what is promoted, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from imgctl_core.models import JSON


class File(NamedTuple):
    """One file of the source version, `key` relative to it.

    `etag` is the source's entity tag as listed. `content` is the SHA-256 of the content
    in hex where the server's entity tags say nothing about it, "" otherwise. `seen` is
    the entity tag that the destination listed when the file was found to be the same
    there, "" otherwise.

    A tuple and not a dataclass: a version may have a million of them.
    """

    key: str
    size: int
    etag: str
    content: str = ""
    seen: str = ""

    @property
    def identity(self) -> str:
        """What says which content this is: `etag:…`, or `sha256:…`."""
        return f"sha256:{self.content}" if self.content else f"etag:{self.etag.lower()}"


def digest(files: Iterable[File]) -> str:
    """Return the digest of a version.

    SHA-256 over one line per file, sorted by the key's UTF-8 bytes: the JSON array
    [key, size, identity] in ASCII without spaces, and a newline.
    """
    total = hashlib.sha256()
    encode = json.JSONEncoder(separators=(",", ":")).encode
    for file in sorted(files, key=lambda file: file.key.encode("utf-8")):
        total.update(encode((file.key, file.size, file.identity)).encode("ascii") + b"\n")
    return f"sha256:{total.hexdigest()}"


def to_rows(files: Iterable[File]) -> list[JSON]:
    """Return files as a plan carries them."""
    return [list(file) for file in files]


def from_rows(data: Mapping[str, JSON]) -> list[File]:
    """Return the files of a plan's data.

    Raises:
        ValueError: it is not what `to_rows` wrote.
    """
    rows = data.get("files")
    if not isinstance(rows, list):
        raise ValueError("the plan has no files")
    return [_file(row) for row in rows]


def _file(row: JSON) -> File:
    match row:
        case [str(key), int(size), str(etag), str(content), str(seen)]:
            return File(key, size, etag, content, seen)
        case _:
            raise ValueError(f"the plan has a file that can't be read: {row!r}")
