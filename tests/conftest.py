"""What every test gets: the kit's fixtures, an empty home, and no way out of the loopback."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import ssl
import struct
import time
from collections.abc import Callable, Generator, Iterator

import pytest
import urllib3

pytest_plugins = ["imgctl_core.testing.fixtures"]
pytest.register_assert_rewrite("imgctl_core.testing.contract")


def pytest_configure() -> None:
    """Let programs under test be interrupted, even when these tests run in the background.

    A shell starts what it puts into the background with SIGINT ignored, and children
    inherit that; a handler of our own is not inherited.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare what was collected the garbage collector, whose every look is a fifth of a second.

    Nothing of it is garbage before the last test is over.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Let `-n auto` be half as many again as there are processors.

    A third of their time these tests wait: for servers, and for programs to start.
    """
    count = yield
    return count if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else count * 3 // 2


@pytest.fixture(autouse=True)
def _isolated(isolated: None) -> None:
    """Apply the kit's isolation to every test."""


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Take back what commands do to our log: their stderr is gone after the test."""
    log = logging.getLogger("imgctl")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers = handlers
    log.setLevel(level)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """Return the address of this process's moto, which takes half a second to stop.

    What one moto of a process holds, all do: take `moto_url`, or empty it when you are done.
    """
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def moto_url(moto_server: str) -> Iterator[str]:
    """Return the address of a moto that holds nothing, and forgets what the test did."""
    yield moto_server
    urllib3.request("POST", f"{moto_server}/moto-api/reset")


@pytest.fixture
def hang_up() -> Callable[..., None]:
    """Return a function that closes a peer, and waits until our end is no longer connected.

    It closes with a reset; with `reset=False` in good order, which our end notices only
    when it was shut down before.
    """

    def close(peer: socket.socket, ours: socket.socket, *, reset: bool = True) -> None:
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                ours.getpeername()
            except OSError:
                return
        pytest.fail("the connection goes on")

    return close


class CutBeforeTls:
    """A server at `host` that resets each connection before its client can begin TLS."""

    def __init__(
        self,
        listener: socket.socket,
        hang_up: Callable[..., None],
        connect: Callable[..., None],
    ) -> None:
        self.host = f"127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        self._hang_up = hang_up
        self._connect = connect
        self._seen: list[object] = []

    def connect(self, ours: socket.socket, address: object) -> None:
        """Stand in for `socket.connect`: what comes back is no longer connected."""
        self._connect(ours, address)
        self._seen.append(ours.getsockname())
        peer, _ = self._listener.accept()
        self._hang_up(peer, ours)

    def left_open(self) -> list[ssl.SSLSocket]:
        """Return the TLS sockets of its clients that nobody has closed."""
        assert self._seen
        found = [each for each in gc.get_objects() if isinstance(each, ssl.SSLSocket)]
        return [each for each in found if each.fileno() != -1 and each.getsockname() in self._seen]


@pytest.fixture
def cut_before_tls(
    hang_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CutBeforeTls]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cut = CutBeforeTls(listener, hang_up, socket.socket.connect)
        monkeypatch.setattr(socket.socket, "connect", lambda *args: cut.connect(*args))
        yield cut
