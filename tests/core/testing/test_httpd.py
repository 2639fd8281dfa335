"""The kit's HTTP server: keep-alive, bad input, the log, and each of the faults."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import pytest

from imgctl_core.testing.httpd import Fault, HttpServer, Request, Response
from imgctl_core.testing.tls import TlsFiles

CONTENT = bytes(range(256)) * 1000


class Answer(Protocol):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Ask(Protocol):
    def __call__(self, url: str, method: str = "GET", *args: Any, **kwargs: Any) -> Answer: ...


def _handle(request: Request) -> Response:
    if request.path == "/bug":
        raise LookupError("a secret of the handler")
    if request.path == "/early":
        return Response(401, {}, b"no")
    if request.method in ("POST", "PUT"):
        return Response(201, {}, b"%d" % len(request.body.read(10**9) or b""))
    return Response(200, {"X-Many": ("a", "b")}, CONTENT)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer(_handle) as started:
        yield started


def _connect(server: HttpServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)


def _raw(server: HttpServer, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        came = b""
        while piece := client.recv(65536):
            came += piece
        return came


def test_one_connection_serves_many_requests(server: HttpServer) -> None:
    connection = _connect(server)
    for _ in range(3):
        connection.request("POST", "/", CONTENT)
        with connection.getresponse() as response:
            assert response.read() == b"256000"
    port = connection.sock.getsockname()[1]
    connection.request("HEAD", "/")
    with connection.getresponse() as response:
        assert response.getheader("Content-Length") == "256000"
        assert response.getheader("X-Many") == "a, b"
        assert response.read() == b""
    assert connection.sock.getsockname()[1] == port
    connection.close()


def test_a_body_that_nobody_read_does_not_poison_the_connection(server: HttpServer) -> None:
    connection = _connect(server)
    for _ in range(2):
        connection.request("PUT", "/early", CONTENT)
        with connection.getresponse() as response:
            assert (response.status, response.read()) == (401, b"no")
    connection.close()


def test_a_held_back_body_is_asked_for(server: HttpServer) -> None:
    head = b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(head)
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert client.recv(1000).startswith(b"HTTP/1.1 201 Created")
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(head.replace(b"PUT /", b"PUT /early"))
        assert client.recv(1000).startswith(b"HTTP/1.1 401 Unauthorized")
        assert client.recv(1000) == b""


def test_chunked_bodies(server: HttpServer) -> None:
    sent = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    sent += b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    assert _raw(server, sent).endswith(b"\r\n\r\n13")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300 + b"\r\n",
    ],
)
def test_what_is_not_http(server: HttpServer, sent: bytes) -> None:
    assert _raw(server, sent).startswith(b"HTTP/1.1 400 ")


def test_a_bug_is_a_500_that_tells_nothing(server: HttpServer, ask: Ask) -> None:
    answer = ask(f"{server.url}/bug")
    assert answer.status == 500
    assert b"secret" not in answer.body


def test_the_log(server: HttpServer, ask: Ask) -> None:
    seen: list[str] = []
    server.on_request = lambda record: seen.append(record.path)
    ask(f"{server.url}/a?b=c", "POST", b"four", {"X-Name": "value"})
    (record,) = server.requests
    assert (record.method, record.target, record.path) == ("POST", "/a?b=c", "/a")
    assert (record.status, record.received) == (201, 4)
    assert record.headers.get("x-name") == "value"
    assert seen == ["/a"]
    assert server.count("POST", r"^/a") == 1
    assert server.count("GET") == 0
    server.clear_requests()
    assert server.requests == ()


class TestFaults:
    def test_an_answer(self, server: HttpServer, ask: Ask) -> None:
        fault = Fault(answer=Response(429, {"Retry-After": "1"}))
        injected = server.inject(fault, method="GET", pattern="/x", skip=1, times=2)
        assert ask(f"{server.url}/y").status == 200
        assert ask(f"{server.url}/x", "PUT").status == 201
        assert [ask(f"{server.url}/x").status for _ in range(4)] == [200, 429, 429, 200]
        assert injected.hits == 2

    def test_a_hook_of_ones_own(self, server: HttpServer, ask: Ask) -> None:
        def hook(request: Request) -> Fault | None:
            return Fault(answer=Response(418)) if "tea" in request.headers.get("Accept") else None

        server.faults.append(hook)
        assert ask(server.url + "/").status == 200
        assert ask(server.url + "/", headers={"Accept": "tea"}).status == 418

    @pytest.mark.parametrize("fault", [Fault(drop=True), Fault(lose=True)])
    def test_no_response(self, server: HttpServer, ask: Ask, fault: Fault) -> None:
        server.inject(fault)
        with pytest.raises(ConnectionResetError):
            ask(f"{server.url}/", "POST", b"four")
        (record,) = server.requests
        assert record.status == 0
        assert record.received == (4 if fault.lose else 0)

    def test_a_response_cut_by_a_reset(self, server: HttpServer) -> None:
        server.inject(Fault(cut_after=1000))
        connection = _connect(server)
        connection.request("GET", "/")
        with pytest.raises(ConnectionResetError):
            connection.getresponse().read()
        connection.close()

    def test_a_response_that_ends_too_soon(self, server: HttpServer) -> None:
        server.inject(Fault(short_after=1000))
        connection = _connect(server)
        connection.request("GET", "/")
        with pytest.raises(http.client.IncompleteRead) as caught:
            connection.getresponse().read()
        assert caught.value.partial == CONTENT[:1000]
        connection.close()

    def test_bytes_that_are_wrong(self, server: HttpServer, ask: Ask) -> None:
        server.inject(Fault(corrupt=True))
        body = ask(server.url + "/").body
        assert len(body) == len(CONTENT)
        assert sum(a != b for a, b in zip(body, CONTENT, strict=True)) == 1
        server.inject(Fault(truncate=10))
        assert ask(server.url + "/").body == CONTENT[:10]

    def test_a_request_that_breaks_off(self, server: HttpServer, ask: Ask) -> None:
        server.inject(Fault(cut_request_after=10))
        with pytest.raises(ConnectionError):
            ask(f"{server.url}/", "POST", CONTENT)
        assert server.requests[0].received == 10

    def test_a_request_that_is_held(self, server: HttpServer, ask: Ask) -> None:
        gate = threading.Event()
        injected = server.inject(Fault(hold=gate))
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(ask(server.url + "/").status))
        thread.start()
        assert injected.struck.wait(5)
        assert ask(server.url + "/other").status == 200
        assert answers == []
        gate.set()
        thread.join(5)
        assert answers == [200]


def test_stopping_ends_idle_and_held_connections(server: HttpServer) -> None:
    server.inject(Fault(hold=threading.Event()))
    idle, held = _connect(server), _connect(server)
    idle.connect()
    held.request("GET", "/")
    server.stop()
    assert not [t for t in threading.enumerate() if t.name == f"accept {server.host}"]
    with pytest.raises((http.client.HTTPException, OSError)):
        held.getresponse()
    idle.close()
    held.close()


def test_a_client_that_resets_before_tls_leaves_nothing_open(
    tls_files: TlsFiles, hang_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, duplicate, was_reset = socket.socket(), socket.socket.dup, threading.Event()

    def reset_first(sock: socket.socket) -> socket.socket:
        if not was_reset.is_set():
            hang_up(client, sock)
            was_reset.set()
        return duplicate(sock)

    # It is the last that the server does before TLS.
    monkeypatch.setattr(socket.socket, "dup", reset_first)
    with HttpServer(_handle, tls_cert=tls_files.cert, tls_key=tls_files.key) as server:
        client.connect(("127.0.0.1", server.port))
        assert was_reset.wait(5)
    # A socket that the server forgot would be a warning by now, and so an error.
    assert server.requests == ()
