"""A manifest as it is kept: every row of it, packed, and the digest that proves it."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from imgctl_core.models import JSON

#: Longest row, in bytes. Rows are sent whole, and a message has a limit.
MAX_ROW: Final = 1024 * 1024

# The form that is hashed. ASCII only: nothing in it can split a line or steer a terminal.
_ENCODER: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
)

#: Packed bytes that are unpacked at a time. What comes out is a few times as much.
_CHUNK: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artifact consists of, one row a part.

    `digest` is over the lines: each row as `line` gives it, and a newline after it.
    `packed` is those lines, compressed.
    """

    rows: int
    digest: str
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, JSON]]) -> Manifest | None:
        """Read the rows, one at a time, and return the manifest; None when there are none.

        Raises:
            TypeError, ValueError: a row is no JSON, or too long.
        """
        packer, hashed = zlib.compressobj(), hashlib.sha256()
        packed, count = bytearray(), 0
        for row in rows:
            text = f"{line(row)}\n".encode("ascii")
            hashed.update(text)
            packed += packer.compress(text)
            count += 1
        if not count:
            return None
        packed += packer.flush()
        return cls(count, f"sha256:{hashed.hexdigest()}", bytes(packed))

    def lines(self) -> Iterator[str]:
        """Yield the rows as JSON, without their newlines."""
        unpacker, rest = zlib.decompressobj(), b""
        for start in range(0, len(self.packed), _CHUNK):
            rest += unpacker.decompress(self.packed[start : start + _CHUNK])
            *whole, rest = rest.split(b"\n")
            for text in whole:
                yield text.decode("ascii")


def line(row: Mapping[str, JSON]) -> str:
    """Return a row as JSON in its one form: sorted keys, no spaces, ASCII, one line.

    Raises:
        TypeError, ValueError: it is no JSON, or too long.
    """
    text = _ENCODER.encode(dict(row))
    if len(text) > MAX_ROW:
        raise ValueError(f"a row of a manifest has {len(text)} bytes, more than {MAX_ROW}")
    return text
