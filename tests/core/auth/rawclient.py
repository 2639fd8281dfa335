"""A gRPC client of a few lines that sends any bytes in a header, which gRPC's own won't.

HTTP/2 as RFC 9113 says, headers spelled out without compression (RFC 7541 section 6.2.2).
"""

from __future__ import annotations

import re
import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
#: A message without a field: not compressed, no bytes.
_EMPTY = b"\0\0\0\0\0"
_STATUS = re.compile(rb"grpc-status[\x01\x02](\d+)")


def raw_call(address: str, authorization: bytes) -> tuple[int, bytes] | None:
    """Call AuthCheck and return the status and its headers; None when it was reset."""
    host, _, port = address.rpartition(":")
    headers = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/imgctl.v1.ImgCtl/AuthCheck"),
        (b":authority", address.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"authorization", authorization),
    )
    block = b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, b"")
            + _frame(_HEADERS, _END_HEADERS, 1, block)
            + _frame(_DATA, _END_STREAM, 1, _EMPTY)
        )
        return _answer(connection)


def _answer(connection: socket.socket) -> tuple[int, bytes] | None:
    stream = connection.makefile("rb")
    while head := stream.read(9):
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        body = stream.read(size)
        if kind in (_RESET, _GOAWAY):
            return None
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        if kind == _HEADERS and flags & _END_STREAM:
            found = _STATUS.search(body)
            assert found is not None, body
            return int(found[1]), body if int(found[1]) else b""
    return None


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + struct.pack(">BBL", kind, flags, stream) + body


def _string(data: bytes) -> bytes:
    """Return a string literal; its length is an integer with a prefix of seven bits."""
    if len(data) < 127:
        return bytes([len(data)]) + data
    size, rest = b"\x7f", len(data) - 127
    while rest >= 128:
        size += bytes([rest % 128 + 128])
        rest //= 128
    return size + bytes([rest]) + data
