"""The host that ECR sends readers of blobs to: presigned links, as S3 serves them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from imgctl_core.testing.httpd import Fault, HttpServer, Request, Response
from imgctl_core.testing.registry.blobs import content_response
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import parse_range
from imgctl_core.testing.registry.state import State


class BlobHost(HttpServer):
    """Serves blobs by links that are good for `lifetime` seconds, with Range.

    A link is all the authorization there is: a request that sends another is refused.
    `short_reads` ends every longer answer after that many bytes, in good order.
    """

    def __init__(
        self,
        state: State,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        lifetime: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(self._serve_blob, host=host, port=port, tls_cert=tls_cert, tls_key=tls_key)
        self.short_reads: int | None = None
        self.lifetime = lifetime
        self._state = state
        self._clock = clock
        self._links_lock = threading.Lock()
        self._links: dict[str, tuple[str, float]] = {}

    def link(self, digest: str) -> str:
        """Return a new link to a blob."""
        signature = secrets.token_hex(32)
        with self._links_lock:
            self._links[signature] = (digest, self._clock() + self.lifetime)
        return (
            f"{self.url}{_path(digest)}?X-Amz-Algorithm=AWS4-HMAC-SHA256"
            f"&X-Amz-Expires={int(self.lifetime)}&X-Amz-Signature={signature}"
        )

    def expire_links(self) -> None:
        """Refuse every link given out until now."""
        with self._links_lock:
            self._links = {s: (digest, float("-inf")) for s, (digest, _) in self._links.items()}

    def _fault(self, request: Request) -> Fault:
        fault = super()._fault(request)
        if fault == Fault() and self.short_reads is not None:
            return Fault(short_after=self.short_reads)
        return fault

    def _serve_blob(self, request: Request) -> Response:
        if "Authorization" in request.headers:
            return _refusal(400, "InvalidArgument", "Only one auth mechanism allowed")
        with self._links_lock:
            found = self._links.get(request.parameter("X-Amz-Signature"))
        if found is None or request.method != "GET" or request.path != _path(found[0]):
            return _refusal(403, "SignatureDoesNotMatch", "The request signature does not match")
        digest, expires = found
        if expires <= self._clock():
            return _refusal(403, "AccessDenied", "Request has expired")
        size = self._state.storage.size(digest)
        if size is None:
            return _refusal(404, "NoSuchKey", "The specified key does not exist.")
        try:
            part = parse_range(request.headers.get("Range"), size)
        except RegistryError as error:
            return _refusal(416, "InvalidRange", error.message)
        offset, length = part or (0, size)
        body = self._state.storage.body(digest, offset, length)
        return content_response(body, part, size, digest, "application/octet-stream")


def _path(digest: str) -> str:
    return "/blobs/" + digest.replace(":", "/")


def _refusal(status: int, code: str, message: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(status, {"Content-Type": "application/xml"}, body.encode())
