"""Blobs: looking, reading (whole or in part), deleting. And how any content is answered."""

from __future__ import annotations

from imgctl_core.testing.httpd import FileBody, Request, Response
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import check_digest, parse_range
from imgctl_core.testing.registry.state import State


def get_blob(state: State, request: Request, name: str, reference: str) -> Response:
    """Answer GET and HEAD of a blob."""
    digest = check_digest(reference)
    size = _size(state, name, digest)
    asked = _asked(request, size)
    offset, length = asked or (0, size)
    body = state.storage.body(digest, offset, length)
    return content_response(body, asked, size, digest, "application/octet-stream")


def delete_blob(state: State, request: Request, name: str, reference: str) -> Response:
    """Answer DELETE of a blob."""
    digest = check_digest(reference)
    with state.lock:
        _size(state, name, digest)
        state.forget_blob(name, digest)
    return Response(202)


def get_content(request: Request, content: bytes, digest: str, media_type: str) -> Response:
    """Answer GET and HEAD of what is in memory already."""
    asked = _asked(request, len(content))
    offset, length = asked or (0, len(content))
    body = content[offset : offset + length]
    return content_response(body, asked, len(content), digest, media_type)


def content_response(
    body: bytes | FileBody, part: tuple[int, int] | None, size: int, digest: str, media_type: str
) -> Response:
    headers = {
        "Content-Type": media_type,
        "Docker-Content-Digest": digest,
        "Accept-Ranges": "bytes",
        "ETag": f'"{digest}"',
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {part[0]}-{part[0] + part[1] - 1}/{size}"
    return Response(200 if part is None else 206, headers, body)


def _asked(request: Request, size: int) -> tuple[int, int] | None:
    # Only GET has ranges (RFC 9110, 14.2).
    return parse_range(request.headers.get("Range"), size) if request.method == "GET" else None


def _size(state: State, name: str, digest: str) -> int:
    size = state.storage.size(digest) if state.has_blob(name, digest) else None
    if size is None:
        raise RegistryError("BLOB_UNKNOWN", f"{name} holds no blob {digest}")
    return size
