"""TLS sockets whose connection ends before TLS has begun on it, or after."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.auth.fetch import FetchFailed, get_object
from imgctl_core.client.dexhttp import DexHttp
from imgctl_core.client.transport import safe_url
from imgctl_core.errors import IssuerUnreachable
from imgctl_core.testing.tls import TlsFiles
from imgctl_core.tls import TlsSocket

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), timeout=10)
        theirs, _ = listener.accept()
    theirs.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def left_open(address: object) -> list[socket.socket]:
    sockets = [found for found in gc.get_objects() if isinstance(found, ssl.SSLSocket)]
    return [sock for sock in sockets if sock.fileno() != -1 and sock.getsockname() == address]


@pytest.mark.parametrize("reset", [False, True], ids=["cut by us", "reset by the peer"])
@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
def test_a_connection_that_ends_before_tls_is_closed_at_once(
    pair: Pair, hang_up: Callable[..., None], *, reset: bool, server_side: bool
) -> None:
    ours, theirs = pair
    address = ours.getsockname()
    if not reset:
        ours.shutdown(socket.SHUT_RDWR)
    hang_up(theirs, ours, reset=reset)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TlsSocket
    name = None if server_side else "localhost"
    # The error is kept: its traceback holds whatever wrapping leaves behind.
    with pytest.raises(ConnectionAbortedError, match="before TLS began") as caught:
        context.wrap_socket(ours, server_side=server_side, server_hostname=name)
    assert left_open(address) == []
    assert caught.traceback


def test_looking_at_a_socket_that_speaks_tls_closes_nothing(
    pair: Pair, hang_up: Callable[..., None], tls_files: TlsFiles
) -> None:
    ours, theirs = pair
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls_files.cert, tls_files.key)
    client = ssl.create_default_context(cafile=tls_files.ca)
    client.sslsocket_class = TlsSocket
    with ThreadPoolExecutor(1) as other:
        answering = other.submit(server.wrap_socket, theirs, server_side=True)
        with client.wrap_socket(ours, server_hostname="localhost") as wrapped:
            hang_up(answering.result(10), wrapped)
            assert "TlsSocket" in repr(wrapped)
            assert wrapped.fileno() != -1


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: get_object(url, timeout=5),
        lambda url: DexHttp(safe_url(url, "--dex-url", "")).get(url),
    ],
    ids=["for keys", "for a login"],
)
def test_clients_leave_no_socket_behind(ask: Callable[[str], object], cut_before_tls: Any) -> None:
    # The error is kept, and so is what its traceback holds.
    with pytest.raises((FetchFailed, IssuerUnreachable), match="ended before TLS began") as caught:
        ask(f"https://{cut_before_tls.host}/keys")
    assert cut_before_tls.left_open() == []
    assert caught.traceback


def test_contexts_of_clients_are_made_in_one_place() -> None:
    """The kit for tests has contexts of its own."""
    root = Path(__file__).parents[2]
    rooms = [root / name for name in ("imgctl_core", "imgctl_backends", "imgctl_cli")]
    makers = {
        file.relative_to(root).as_posix()
        for room in rooms
        for file in room.rglob("*.py")
        if "ssl.create_default_context(" in file.read_text() and "testing" not in file.parts
    }
    assert makers == {"imgctl_core/tls.py"}
