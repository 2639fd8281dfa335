"""One bounded GET of a JSON object, for an issuer's documents.

The peer is trusted with our keys but not with our threads: no redirects, no more than a
megabyte, and an end to the whole exchange, even for a peer that sends a byte now and
then (a read timeout never fires for one that does).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from imgctl_core.auth.strict_json import loads_object
from imgctl_core.hosts import is_loopback
from imgctl_core.tls import client_context

#: Longest answer that is read, in bytes.
MAX_BODY = 1 << 20

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class FetchFailed(Exception):
    """A document could not be had. The text is one line for the server's log."""


class _Watchdog:
    """Cuts the connections of one exchange when its time is up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.barked = False

    def watch(self, connection: HTTPConnection) -> None:
        # A duplicate: a TLS socket can't be shut down safely under its reader, the
        # connection below it can.
        if connection.sock is not None:
            duplicate = socket.socket(fileno=os.dup(connection.sock.fileno()))
            with self._lock:
                self._sockets.append(duplicate)
                too_late = self.barked
            if too_late:
                self.bark()

    def bark(self) -> None:
        with self._lock:
            self.barked = True
            for watched in self._sockets:
                with suppress(OSError):
                    watched.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            for watched in self._sockets:
                watched.close()
            self._sockets.clear()


def get_object(url: str, *, timeout: float) -> dict[str, object]:
    """GET a JSON object; it and each of its waits end within `timeout` seconds.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` name the authorities to trust, as for OpenSSL;
    they are read anew each time, so a renewed bundle counts without a restart. The
    environment's proxies are used except for loopback addresses.

    Raises:
        FetchFailed: anything but 200 with a JSON object of at most `MAX_BODY` bytes.
    """
    watchdog = _Watchdog()
    timer = threading.Timer(timeout, watchdog.bark)
    timer.daemon = True
    timer.start()
    try:
        return loads_object(_get(url, timeout, watchdog))
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        reason = f"no whole answer in {timeout:g} s" if watchdog.barked else _short(error)
        raise FetchFailed(f"{url}: {reason}") from None
    finally:
        timer.cancel()
        watchdog.close()


def _get(url: str, timeout: float, watchdog: _Watchdog) -> bytes:
    with _manager(url, timeout, watchdog) as manager:
        response = manager.request(
            "GET", url, headers=_HEADERS, redirect=False, retries=False, preload_content=False
        )
        try:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            body = bytearray()
            while chunk := response.read1(MAX_BODY + 1 - len(body), decode_content=False):
                body += chunk
                if len(body) > MAX_BODY:
                    raise ValueError("the answer is longer than 1 MiB")
            if watchdog.barked:
                raise ValueError("cut off")
            return bytes(body)
        finally:
            response.close()


@contextmanager
def _manager(url: str, timeout: float, watchdog: _Watchdog) -> Iterator[urllib3.PoolManager]:
    proxy = _proxy_for(url)
    limits = urllib3.Timeout(connect=timeout, read=timeout)
    trust = client_context()
    manager = (
        urllib3.ProxyManager(proxy, timeout=limits, ssl_context=trust)
        if proxy
        else urllib3.PoolManager(timeout=limits, ssl_context=trust)
    )
    manager.pool_classes_by_scheme = {
        "http": _watched(HTTPConnectionPool, HTTPConnection, watchdog),
        "https": _watched(HTTPSConnectionPool, HTTPSConnection, watchdog),
    }
    with manager:
        yield manager


_PoolT = TypeVar("_PoolT", bound=HTTPConnectionPool)


def _watched(
    pool: type[_PoolT], connection: type[HTTPConnection], watchdog: _Watchdog
) -> type[_PoolT]:
    """Return `pool` with connections that tell the watchdog about their sockets."""

    def connect(self: HTTPConnection) -> None:
        connection.connect(self)
        watchdog.watch(self)

    cls = type(connection.__name__, (connection,), {"connect": connect})
    return type(pool.__name__, (pool,), {"ConnectionCls": cls})


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _short(error: Exception) -> str:
    # ASCII and one line: parts of it may be the peer's.
    return ascii(f"{type(error).__name__}: {error}")[1:-1][:300]
