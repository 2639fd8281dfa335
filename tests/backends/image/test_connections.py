"""Connections are closed when they are over: none is left to the collector."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.wire.faults import Fault
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.hosts import HostRules
from imgctl_backends.image.wire.transport import Transport
from imgctl_core.context import Context
from imgctl_core.testing.registry import Registry


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return a port where nobody accepts yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def transport_to(url: str) -> Transport:
    endpoint = ImageEndpoint.model_validate({"registry": url})
    return Transport(endpoint, ImageSettings(), HostRules(endpoint))


class NotingFlight(Flight):
    """Notes which connections it has held."""

    def __init__(self) -> None:
        super().__init__(Context())
        self.addresses: list[object] = []

    def hold(self, handle: socket.socket) -> None:
        self.addresses.append(handle.getsockname())
        super().hold(handle)

    def left_open(self) -> list[socket.socket]:
        """Return the sockets of these connections that nobody has closed yet."""
        sockets = [found for found in gc.get_objects() if isinstance(found, socket.socket)]
        return [
            sock for sock in sockets if sock.fileno() != -1 and sock.getsockname() in self.addresses
        ]


class ResetFlight(NotingFlight):
    """Is cut as soon as a connection stands, which the peer has reset by then."""

    def __init__(self, listener: socket.socket, hang_up: Callable[..., None]) -> None:
        super().__init__()
        self._listener = listener
        self._hang_up = hang_up

    def hold(self, handle: socket.socket) -> None:
        peer, _ = self._listener.accept()
        self._hang_up(peer, handle)
        self.cut()
        super().hold(handle)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_is_cut_before_its_first_use_is_closed(
    listener: socket.socket, hang_up: Callable[..., None], scheme: str
) -> None:
    url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    flight = ResetFlight(listener, hang_up)
    with closing(transport_to(url)) as transport, flight:
        # The error is kept: its traceback holds whatever was left behind.
        with pytest.raises(Fault, match="the connection was lost") as caught:
            transport.send(flight, "GET", f"{url}/v2/", {})
        assert len(flight.addresses) == 1
        assert flight.left_open() == []
        assert caught.traceback


@pytest.mark.parametrize("used", [False, True], ids=["idle", "in use"])
def test_closing_ends_a_connection_whoever_still_holds_its_answer(
    dev: Registry, *, used: bool
) -> None:
    transport = transport_to(dev.url)
    with NotingFlight() as flight:
        reply = transport.send(flight, "GET", f"{dev.url}/v2/", {})
        if used:
            transport.close()
        assert reply.body(1024)
        assert flight.left_open()
        reply.close()
        transport.close()
        assert flight.left_open() == []
    assert reply.status == 200
