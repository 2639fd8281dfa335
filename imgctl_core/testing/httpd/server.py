"""The server: accepts, serves every connection in a thread, keeps the log, plays faults."""

from __future__ import annotations

import collections
import contextlib
import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from imgctl_core.testing.httpd.body import BodyFault
from imgctl_core.testing.httpd.connection import Connection
from imgctl_core.testing.httpd.errors import ClientGone, Gone
from imgctl_core.testing.httpd.faults import Fault, Hook, Injected
from imgctl_core.testing.httpd.messages import Request, RequestRecord, Response
from imgctl_core.testing.httpd.waiting import Pace
from imgctl_core.tls import TlsSocket

_LOG = logging.getLogger("imgctl.testing")
_LOG_LENGTH: Final = 100_000
_STOP_SECONDS: Final = 10.0

Handler = Callable[[Request], Response]


class HttpServer:
    """Serves `handler` on the loopback, from `start` to `stop`; also a context manager.

    `port` 0 picks a free one. With `tls_cert` and `tls_key` it speaks TLS and nothing
    else. `faults` holds hooks; the first that returns a fault wins. `on_request` is
    called with every line of the log, in the thread that serves the request.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        self.faults: list[Hook] = []
        self.on_request: Callable[[RequestRecord], object] | None = None
        self._handler = handler
        self._address = (host, port)
        self._tls: ssl.SSLContext | None = None
        if tls_cert is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.sslsocket_class = TlsSocket
            self._tls.load_cert_chain(tls_cert, tls_key)
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._requests: collections.deque[RequestRecord] = collections.deque(maxlen=_LOG_LENGTH)

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    @property
    def host(self) -> str:
        """Host and port, as in `127.0.0.1:5000`."""
        return f"{self._address[0]}:{self._address[1]}"

    @property
    def port(self) -> int:
        return self._address[1]

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The requests answered so far, in the order in which they were answered."""
        with self._lock:
            return tuple(self._requests)

    def clear_requests(self) -> None:
        """Start the log anew."""
        with self._lock:
            self._requests.clear()

    def matching(self, method: str = "", pattern: str = "") -> tuple[RequestRecord, ...]:
        """Return the logged requests of that method whose target the pattern is found in."""
        found = re.compile(pattern)
        return tuple(
            record
            for record in self.requests
            if (not method or record.method == method) and found.search(record.target)
        )

    def count(self, method: str = "", pattern: str = "") -> int:
        """Count the logged requests of that method whose target the pattern is found in."""
        return len(self.matching(method, pattern))

    def traffic(self, method: str = "", pattern: str = "") -> tuple[int, int]:
        """Sum the logged requests' bytes: those of their bodies, and of the answers'.

        Bytes that a client never read count, too, when they were on their way.
        """
        records = self.matching(method, pattern)
        return sum(record.received for record in records), sum(record.sent for record in records)

    def inject(
        self,
        fault: Fault,
        *,
        method: str = "",
        pattern: str = "",
        times: int | None = 1,
        skip: int = 0,
    ) -> Injected:
        """Let a fault strike the matching requests; see `Injected`."""
        injected = Injected(fault, method, pattern, times, skip)
        self.faults.append(injected)
        return injected

    def start(self) -> Self:
        """Listen. A port chosen once is kept for a later start."""
        self._stopping.clear()
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._listener = socket.create_server(self._address, family=family, backlog=512)
        self._address = (self._address[0], self._listener.getsockname()[1])
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener,), name=f"accept {self.host}", daemon=True
        )
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection, and wait for the threads. Idempotent."""
        if self._listener is None:
            return
        self._stopping.set()
        with contextlib.suppress(OSError):
            # Wakes the accepting thread; closing its socket under it would not.
            socket.create_connection(self._address, 1).close()
        if self._acceptor is not None:
            self._acceptor.join(_STOP_SECONDS)
        self._listener.close()
        self._listener = None
        self.close_connections()

    def close_connections(self) -> None:
        """Break the connections that are open now, and go on serving new ones."""
        with self._lock:
            connections = dict(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            if thread is not threading.current_thread():
                thread.join(_STOP_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                Connection(connection, self._answer, self._stopping, "http").serve()
            else:
                self._serve_tls(connection, self._tls)
        except OSError as error:
            _LOG.debug("connection ended: %s", error)
        finally:
            with self._lock:
                self._open.pop(connection, None)
            connection.close()

    def _serve_tls(self, connection: socket.socket, tls: ssl.SSLContext) -> None:
        # A duplicate, since wrapping takes the socket away from those who may close it.
        with tls.wrap_socket(connection.dup(), server_side=True) as wrapped:
            served = Connection(wrapped, self._answer, self._stopping, "https")
            served.serve()
            if not served.was_reset:
                with contextlib.suppress(OSError, ValueError):
                    # Says goodbye without waiting for the other's.
                    wrapped.settimeout(0)
                    wrapped.unwrap()

    def _answer(self, request: Request) -> tuple[Response, Fault, RequestRecord]:
        fault = self._fault(request)
        if not self._wait(request, fault):
            self._record(request, 0)
            raise ClientGone("the client did not wait for an answer")
        self._spoil_body(request, fault)
        if fault.drop:
            return Response(500), fault, self._record(request, 0)
        response = fault.spoil(self._handle(request, fault))
        return response, fault, self._record(request, 0 if fault.lose else response.status)

    def _fault(self, request: Request) -> Fault:
        for hook in list(self.faults):
            fault = hook(request)
            if fault is not None:
                return fault
        return Fault()

    def _wait(self, request: Request, fault: Fault) -> bool:
        if fault.delay:
            self._stopping.wait(fault.delay)
        return fault.hold is None or request.wait(fault.hold)

    def _spoil_body(self, request: Request, fault: Fault) -> None:
        wrong = BodyFault(
            fault.cut_request_after,
            fault.stall_request_after,
            fault.release,
            fault.corrupt_request,
        )
        pace = Pace(fault.rate, self._pause) if fault.rate else None
        request.body.go_wrong(wrong, request.wait, pace)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._stopping.wait(seconds)

    def _handle(self, request: Request, fault: Fault) -> Response:
        try:
            if fault.answer is None:
                return self._handler(request)
            for _ in request.body if fault.late else ():
                pass
            return fault.answer
        except Gone:
            self._record(request, 0)
            raise
        except Exception:  # noqa: BLE001 - a bug of ours is an answer, not a broken line
            _LOG.exception("%s %s failed", request.method, request.path)
            return Response(500, {"Content-Type": "text/plain"}, b"a bug of the test server")

    def _record(self, request: Request, status: int) -> RequestRecord:
        record = RequestRecord(
            request.method, request.target, status, request.headers, request.body.received
        )
        with self._lock:
            self._requests.append(record)
        if self.on_request is not None:
            self.on_request(record)
        return record


def wait_forever() -> None:
    """Block the main thread until it is interrupted."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
