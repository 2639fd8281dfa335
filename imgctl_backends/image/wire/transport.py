"""HTTP for one endpoint: pools, trust roots, timeouts, and faults instead of exceptions."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.wire.connections import POOLS
from imgctl_backends.image.wire.faults import Fault
from imgctl_backends.image.wire.flight import Flight, Grip, gripping
from imgctl_backends.image.wire.hosts import HostRules
from imgctl_backends.image.wire.trust import trust_roots
from imgctl_backends.image.wire.wire_faults import wire_fault
from imgctl_core.errors import EndpointFailed

Body = bytes | Iterable[bytes] | None

#: Small answers are read to the end on close, so that their connection can serve again.
_DRAINED: Final = 64 * 1024

#: Bodies from this size on are read in larger pieces.
_LARGE: Final = 16 * 1024 * 1024


class Reply:
    """An answer whose body is still to be read. Use it in a `with`."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, url: str, grip: Grip, stall_seconds: float
    ) -> None:
        self._response = response
        self._grip = grip
        self._stall_seconds = stall_seconds
        self._ended = False
        self._late: Fault | None = None
        self._large = (response.length_remaining or 0) >= _LARGE
        self._whole: bytes | None = None
        self.url = url
        self.where = urlsplit(url).netloc
        self.status = response.status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """Return every value of a header that may come more than once."""
        return list(self._response.headers.getlist(name))

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end.

        Raises:
            Fault: the connection broke or stalled.
        """
        if self._late is not None:
            raise self._late
        parts: list[bytes] = []
        left = size
        # In parts, because a single large read would lose what came before a fault: of a
        # very large body that is little, and a tenth of the work is saved.
        read = self._response.read if self._large else self._response.read1
        try:
            while left and (data := read(left, decode_content=False)):
                parts.append(data)
                left -= len(data)
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            fault = wire_fault(self.where, error, self._stall_seconds)
            if not parts:
                raise fault from error
            self._late = fault
        self._ended = bool(size) and not parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def body(self, limit: int) -> bytes:
        """Return the whole body, as often as asked.

        Raises:
            Fault: the connection broke or stalled.
            EndpointFailed: it is longer than `limit`.
        """
        if self._whole is not None:
            return self._whole
        parts: list[bytes] = []
        size = 0
        while data := self.read(min(limit + 1, _DRAINED)):
            parts.append(data)
            size += len(data)
            if size > limit:
                raise EndpointFailed(
                    f"the registry {self.where} sent more than the {limit} bytes we accept here"
                )
        self._whole = b"".join(parts)
        return self._whole

    def close(self) -> None:
        """Give the connection back, or drop it when much of the body is unread."""
        left = self._response.length_remaining
        try:
            if not self._ended and left is not None and left <= _DRAINED:
                self.read(left + 1)
                self._ended = True
        except Fault:
            self._ended = False
        if self._ended:
            self._response.release_conn()
        else:
            self._response.close()
        self._grip.release()


class Transport:
    """Sends requests for one endpoint, to its host and to those that it sends us to."""

    def __init__(self, endpoint: ImageEndpoint, settings: ImageSettings, rules: HostRules) -> None:
        self._settings = settings
        self._rules = rules
        # A host that nobody listed is reached through pools of its own: a connection
        # that was made without looking at the peer's address must not serve it.
        trusted = trust_roots(endpoint)
        self._listed = _pools(trusted, settings)
        self._unlisted = _pools(trusted, settings)

    def send(
        self,
        flight: Flight,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        seconds: float | None = None,
    ) -> Reply:
        """Send one request, once, following nothing.

        `seconds` bounds connecting and each standstill, instead of the settings.

        Raises:
            Fault: there was no answer.
            EndpointFailed: the URL's host is at a private address and nobody listed it.
        """
        flight.check()
        stall = seconds or self._settings.stall_seconds
        left = flight.context.remaining()
        if left is not None:
            stall = min(stall, left + 0.1)
        listed = self._rules.may_be_private(url)
        grip = Grip(
            flight,
            min(stall, self._settings.connect_seconds),
            None if listed else self._rules.guard,
        )
        pools = self._listed if listed else self._unlisted
        try:
            with gripping(grip):
                response = pools.urlopen(
                    method,
                    url,
                    redirect=False,
                    headers=headers,
                    body=body,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(connect=stall, read=stall),
                )
        except (HTTPError, http.client.HTTPException, OSError) as error:
            grip.release()
            raise wire_fault(urlsplit(url).netloc, error, stall) from error
        except BaseException:
            grip.release()
            raise
        return Reply(response, url, grip, stall)

    def close(self) -> None:
        """Close the idle connections, and those in use once their answers are closed."""
        for manager in (self._listed, self._unlisted):
            # `clear` only forgets the pools, and an answer or an error may still hold one.
            for key in manager.pools.keys():  # noqa: SIM118 - it can't be iterated over
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
            manager.clear()


def _pools(trusted: ssl.SSLContext, settings: ImageSettings) -> urllib3.PoolManager:
    manager = urllib3.PoolManager(
        num_pools=8,
        maxsize=2 * settings.jobs + settings.requests,
        ssl_context=trusted,
        headers={},
    )
    manager.pool_classes_by_scheme = POOLS
    return manager
