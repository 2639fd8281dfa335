"""Dex's subject: which of its connectors vouched for somebody.

Dex writes `sub` as base64url of a protobuf message with two strings: 1 the user's id at
the connector, 2 the connector's id. Another connector of the same Dex may know groups of
the same names and check far less, so the connector is part of who somebody is.
"""

from __future__ import annotations

from dataclasses import dataclass

from imgctl_core.auth.compact import decode_base64url

_USER_ID = 0x0A  # field 1, length-delimited
_CONNECTOR_ID = 0x12  # field 2, length-delimited


@dataclass(frozen=True, slots=True)
class DexSubject:
    """Who, at which of Dex's connectors."""

    user_id: str
    connector: str


def parse_subject(text: str) -> DexSubject | None:
    """Decode a `sub` that Dex made. None for any other form."""
    try:
        data = decode_base64url(text)
        user_id, data = _field(data, _USER_ID)
        connector, data = _field(data, _CONNECTOR_ID)
    except (ValueError, IndexError):
        return None
    if data or not user_id or not connector:
        return None
    return DexSubject(user_id, connector)


def _field(data: bytes, tag: int) -> tuple[str, bytes]:
    if data[0] != tag:
        raise ValueError("another field")
    size, start = _varint(data, 1)
    end = start + size
    if end > len(data):
        raise ValueError("cut off")
    return data[start:end].decode("utf-8"), data[end:]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a length of at most four bytes: far more than a token can hold."""
    value = 0
    for index in range(4):
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("too long")
