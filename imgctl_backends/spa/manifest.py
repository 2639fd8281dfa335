"""The files of one version as planned: what is promoted, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imgctl_core.models import JSON


@dataclass(frozen=True, slots=True)
class File:
    """One file of the source version, `key` relative to it.

    `etag` is the source's entity tag as listed; `identity` says what its content is:
    `etag:…`, or `sha256:…` where the server's entity tags say nothing about content.
    `seen` is the entity tag that the destination listed when the file was found to be
    the same there, "" otherwise.
    """

    key: str
    size: int
    etag: str
    identity: str
    seen: str = ""


def digest(files: Iterable[File]) -> str:
    """Return the digest of a version.

    SHA-256 over one line per file, sorted by the key's UTF-8 bytes: the JSON array
    [key, size, identity] in ASCII without spaces, and a newline.
    """
    total = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.key.encode("utf-8")):
        row = json.dumps([file.key, file.size, file.identity], separators=(",", ":"))
        total.update(row.encode("ascii") + b"\n")
    return f"sha256:{total.hexdigest()}"


def to_rows(files: Iterable[File]) -> list[JSON]:
    """Return files as a plan carries them."""
    return [[file.key, file.size, file.etag, file.identity, file.seen] for file in files]


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
        case [str(key), int(size), str(etag), str(identity), str(seen)]:
            return File(key, size, etag, identity, seen)
        case _:
            raise ValueError(f"the plan has a file that can't be read: {row!r}")
