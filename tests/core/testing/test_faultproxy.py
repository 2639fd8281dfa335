"""The HTTP proxy changes nothing of what passes, and lets the chosen requests fail."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from imgctl_core.testing import (
    Fault,
    FaultProxy,
    HttpFaultProxy,
    HttpServer,
    Registry,
    Request,
    Response,
    TlsFiles,
)
from imgctl_core.testing.faultproxy import parse_rule
from imgctl_core.testing.fixtures import MakeDockerRegistry, MakeFaultProxy, MakeVersityGateway

CONTENT = hashlib.shake_128(b"fault proxy").digest(3_000_000)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
BLOB = f"/v2/app/blobs/{DIGEST}"
UPLOAD = f"/v2/app/blobs/uploads/?digest={DIGEST}"


class Answer(Protocol):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Ask(Protocol):
    def __call__(self, url: str, method: str = "GET", *args: Any, **kwargs: Any) -> Answer: ...


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        started.put_blob("app", CONTENT)
        yield started


@pytest.fixture
def proxy(registry: Registry, fault_proxy: MakeFaultProxy) -> HttpFaultProxy:
    return fault_proxy(registry.url)


def _echo(request: Request) -> Response:
    told = {name: request.headers.get(name) for name in request.headers}
    body = request.body.read(10**8) or b""
    told["body"] = hashlib.sha256(body).hexdigest()
    headers = {"X-Many": ("a", "b")}
    return Response(200, headers, json.dumps(told).encode())


def _connect(server: HttpServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)


def _partial(proxy: HttpFaultProxy, path: str = BLOB) -> tuple[bytes, str]:
    """Return what of a body came, and how it ended: "end", "reset" or "silence"."""
    connection = _connect(proxy)
    connection.timeout = 1.0
    came = bytearray()
    try:
        connection.request("GET", path)
        with connection.getresponse() as response:
            while piece := response.read1(65536):
                came += piece
        return bytes(came), "end"
    except ConnectionError:
        return bytes(came), "reset"
    except TimeoutError:
        return bytes(came), "silence"
    finally:
        connection.close()


class TestPassing:
    def test_requests_and_answers_arrive_unchanged(
        self, fault_proxy: MakeFaultProxy, ask: Ask
    ) -> None:
        with HttpServer(_echo) as server:
            proxy = fault_proxy(server.url)
            sent = {"Host": "somewhere.test:1234", "Authorization": "Secret", "X-A": "b"}
            answer = ask(f"{proxy.url}/a%2Fb?c=d&c=%20", "PUT", CONTENT, sent)
            got = json.loads(answer.body)
            assert answer.status == 200
            assert (got["host"], got["authorization"]) == ("somewhere.test:1234", "Secret")
            assert got["content-length"] == str(len(CONTENT))
            assert got["body"] == hashlib.sha256(CONTENT).hexdigest()
            assert server.requests[0].target == "/a%2Fb?c=d&c=%20"
            assert "x-forwarded-for" not in got
            connection = _connect(proxy)
            connection.request("GET", "/")
            with connection.getresponse() as response:
                assert response.headers.get_all("X-Many") == ["a", "b"]
            connection.close()

    def test_chunked_and_held_back_bodies(self, fault_proxy: MakeFaultProxy, ask: Ask) -> None:
        with HttpServer(_echo) as server:
            proxy = fault_proxy(server.url)
            answer = ask(f"{proxy.url}/", "POST", iter([CONTENT[:7], CONTENT[7:]]))
            got = json.loads(answer.body)
            assert got["body"] == hashlib.sha256(CONTENT).hexdigest()
            assert got["transfer-encoding"] == "chunked"
            head = b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
                client.sendall(head)
                assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
                client.sendall(b"hi")
                assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
            assert "expect" not in server.requests[-1].headers

    def test_an_answer_without_a_length(self, fault_proxy: MakeFaultProxy) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    client.sendall(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")

            thread = threading.Thread(target=serve)
            thread.start()
            proxy = fault_proxy(f"http://127.0.0.1:{listener.getsockname()[1]}")
            connection = _connect(proxy)
            connection.request("GET", "/")
            with connection.getresponse() as response:
                assert response.getheader("Transfer-Encoding") == "chunked"
                assert response.read() == b"abcdefg"
            connection.close()
            thread.join(5)

    def test_heads_tell_the_length_and_connections_are_kept(
        self, registry: Registry, fault_proxy: MakeFaultProxy
    ) -> None:
        line = FaultProxy(registry.host).start()
        proxy = fault_proxy(f"http://{line.host}")
        connection = _connect(proxy)
        ports = set()
        for method in ("HEAD", "GET", "HEAD"):
            connection.request(method, BLOB)
            with connection.getresponse() as response:
                assert response.getheader("Content-Length") == str(len(CONTENT))
                assert response.read() == (CONTENT if method == "GET" else b"")
            ports.add(connection.sock.getsockname()[1])
        connection.close()
        assert len(ports) == 1
        assert line.connections == 1
        assert [r.method for r in registry.requests] == ["HEAD", "GET", "HEAD"]
        line.stop()

    def test_ranges_pass(self, proxy: HttpFaultProxy, ask: Ask) -> None:
        answer = ask(proxy.url + BLOB, headers={"Range": "bytes=10-19"})
        assert (answer.status, answer.body) == (206, CONTENT[10:20])
        assert answer.headers["Content-Range"] == f"bytes 10-19/{len(CONTENT)}"

    def test_servers_that_name_themselves_name_the_proxy(
        self, fault_proxy: MakeFaultProxy, ask: Ask
    ) -> None:
        with Registry(auth="bearer", username="u", password="p") as secure:
            proxy = fault_proxy(secure.url)
            asked = ask(f"{proxy.url}/v2/").headers["WWW-Authenticate"]
            assert asked.startswith(f'Bearer realm="{proxy.url}/token",')
        with Registry(absolute_locations=True) as plain:
            proxy = fault_proxy(plain.url)
            began = ask(f"{proxy.url}/v2/app/blobs/uploads/", "POST")
            assert began.headers["Location"].startswith(f"{proxy.url}/v2/app/blobs/uploads/")

    def test_other_origins_are_rewritten_on_demand(
        self, fault_proxy: MakeFaultProxy, ask: Ask
    ) -> None:
        def redirect(request: Request) -> Response:
            return Response(307, {"Location": f"http://blobs.test:81{request.target}"})

        with HttpServer(redirect) as server:
            proxy = fault_proxy(server.url)
            assert ask(f"{proxy.url}/a").headers["Location"] == "http://blobs.test:81/a"
            proxy.rewrites = {"http://blobs.test:8": "http://wrong", "http://blobs.test:81": "x:"}
            assert ask(f"{proxy.url}/a").headers["Location"] == "x:/a"

    def test_tls_in_front_and_behind(
        self, fault_proxy: MakeFaultProxy, tls_files: TlsFiles, ask: Ask
    ) -> None:
        with Registry(tls_cert=tls_files.cert, tls_key=tls_files.key) as secure:
            secure.put_blob("app", CONTENT)
            proxy = fault_proxy(secure.url, upstream_ca=tls_files.ca, tls=True)
            other = CONTENT[::-1]
            digest = f"sha256:{hashlib.sha256(other).hexdigest()}"
            path = f"/v2/app/blobs/uploads/?digest={digest}"
            put = ask(proxy.url + path, "POST", other, ca_file=tls_files.ca)
            got = ask(proxy.url + BLOB, ca_file=tls_files.ca)
            assert (put.status, got.body == CONTENT) == (201, True)
            assert digest in secure.blobs("app")

    def test_an_early_answer_stops_the_upload(self, fault_proxy: MakeFaultProxy, ask: Ask) -> None:
        with HttpServer(lambda request: Response(401, {}, b"no")) as server:
            proxy = fault_proxy(server.url)
            answer = ask(f"{proxy.url}/", "PUT", CONTENT)
            assert (answer.status, answer.body) == (401, b"no")
            assert ask(f"{proxy.url}/", "PUT", b"x").status == 401

    def test_a_server_that_answers_and_reads_no_further(self, fault_proxy: MakeFaultProxy) -> None:
        done = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                client, _ = listener.accept()
                with client:
                    client.recv(100)
                    client.sendall(b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n")
                    done.wait(20)

            thread = threading.Thread(target=serve)
            thread.start()
            proxy = fault_proxy(f"http://127.0.0.1:{listener.getsockname()[1]}")
            connection = _connect(proxy)
            connection.request("PUT", "/", CONTENT * 2)
            with connection.getresponse() as response:
                assert response.status == 429
            connection.close()
            done.set()
            thread.join(5)

    def test_a_server_that_is_down_is_a_reset(
        self, registry: Registry, proxy: HttpFaultProxy, ask: Ask
    ) -> None:
        registry.stop()
        with pytest.raises(ConnectionResetError):
            ask(f"{proxy.url}/v2/")
        assert proxy.requests[0].status == 0

    def test_what_breaks_behind_breaks_in_front(
        self, registry: Registry, proxy: HttpFaultProxy
    ) -> None:
        registry.inject(Fault(cut_after=100_000))
        came, how = _partial(proxy)
        assert (how, CONTENT.startswith(came)) == ("reset", True)
        registry.inject(Fault(short_after=100_000))
        assert _partial(proxy)[1] == "reset"

    def test_memory_stays_small(self, tmp_path: Path, fault_proxy: MakeFaultProxy) -> None:
        code = """
import resource, sys, http.client
from imgctl_core.testing import HttpFaultProxy
from urllib.parse import urlsplit
with HttpFaultProxy(sys.argv[1]) as proxy:
    connection = http.client.HTTPConnection(proxy.host, timeout=30)
    def transfer(size):
        connection.request("PUT", "/", (b"x" * 65536 for _ in range(size // 65536)),
                           {"Content-Length": str(size)})
        with connection.getresponse() as response:
            count = 0
            while piece := response.read(65536):
                count += len(piece)
        assert count == size, count
    transfer(65536)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    transfer(64 * 1024 * 1024)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

        def swallow(request: Request) -> Response:
            size = sum(map(len, request.body))
            return Response(200, {}, bytes(size))

        with HttpServer(swallow) as server:
            done = subprocess.run(
                [sys.executable, "-c", code, server.url], capture_output=True, text=True
            )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 16 * 1024


class TestFaults:
    def test_an_answer_is_given_without_asking(
        self, registry: Registry, proxy: HttpFaultProxy, ask: Ask
    ) -> None:
        fault = Fault(answer=Response(503, {"Retry-After": "2"}, b"later"))
        injected = proxy.inject(fault, method="GET", pattern="/blobs/", skip=1, times=2)
        got = [ask(proxy.url + BLOB).status for _ in range(4)]
        assert (got, injected.hits) == ([200, 503, 503, 200], 2)
        assert registry.count("GET") == 2
        assert ask(f"{proxy.url}/v2/").status == 200

    def test_a_late_answer_has_read_the_body(self, proxy: HttpFaultProxy, ask: Ask) -> None:
        proxy.inject(Fault(answer=Response(500), late=True))
        assert ask(proxy.url + UPLOAD, "POST", CONTENT).status == 500
        assert proxy.requests[0].received == len(CONTENT)

    def test_a_response_reset_after_exactly_that_many_bytes(self, proxy: HttpFaultProxy) -> None:
        proxy.inject(Fault(cut_after=1_234_567), pattern="/blobs/")
        came, how = _partial(proxy)
        assert (len(came), how) == (1_234_567, "reset")
        assert came == CONTENT[: len(came)]
        assert proxy.traffic("GET", "/blobs/") == (0, 1_234_567)

    def test_a_slow_reader_gets_all_that_is_before_the_cut(self, proxy: HttpFaultProxy) -> None:
        proxy.inject(Fault(cut_after=1_000_000), pattern="/blobs/")
        came = b""
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            client.connect(("127.0.0.1", proxy.port))
            client.sendall(f"GET {BLOB} HTTP/1.1\r\n\r\n".encode())
            with contextlib.suppress(ConnectionResetError):
                while piece := client.recv(4096):
                    came += piece
        assert came.partition(b"\r\n\r\n")[2] == CONTENT[:1_000_000]

    def test_a_response_that_is_silent_for_ever_or_until_an_event(
        self, proxy: HttpFaultProxy
    ) -> None:
        proxy.inject(Fault(stall_after=100_000))
        came, how = _partial(proxy)
        assert (len(came), how) == (100_000, "silence")
        release = threading.Event()
        proxy.inject(Fault(stall_after=100_000, release=release))
        connection = _connect(proxy)
        connection.request("GET", BLOB)
        with connection.getresponse() as response:
            assert response.read(100_000) == CONTENT[:100_000]
            release.set()
            assert response.read() == CONTENT[100_000:]
        connection.close()

    def test_a_stall_ends_when_the_client_leaves(self, proxy: HttpFaultProxy) -> None:
        ended = threading.Event()
        proxy.on_request = lambda record: ended.set()
        injected = proxy.inject(Fault(hold=threading.Event()))
        connection = _connect(proxy)
        connection.request("GET", BLOB)
        assert injected.struck.wait(5)
        assert not ended.is_set()
        connection.close()
        assert ended.wait(5)
        assert proxy.requests[0].status == 0

    def test_an_upload_that_nobody_reads(self, registry: Registry, proxy: HttpFaultProxy) -> None:
        release = threading.Event()
        injected = proxy.inject(Fault(stall_request_after=1000, release=release))
        statuses: list[int] = []

        def upload() -> None:
            connection = _connect(proxy)
            connection.request("POST", UPLOAD.replace("app", "new"), CONTENT)
            with connection.getresponse() as response:
                statuses.append(response.status)
            connection.close()

        thread = threading.Thread(target=upload)
        thread.start()
        assert injected.struck.wait(5)
        # Long enough for what must not happen; what must happen is never waited for so.
        thread.join(0.2)
        assert registry.blobs("new") == frozenset()
        assert statuses == []
        release.set()
        thread.join(5)
        assert statuses == [201]
        assert registry.blobs("new") == {DIGEST}

    def test_an_upload_that_is_cut(
        self, registry: Registry, proxy: HttpFaultProxy, ask: Ask
    ) -> None:
        broke = threading.Event()
        registry.on_request = lambda record: broke.set()
        proxy.inject(Fault(cut_request_after=1_000_000), method="POST")
        with pytest.raises(ConnectionError):
            ask(proxy.url + UPLOAD.replace("app", "new"), "POST", CONTENT)
        assert proxy.requests[0].received == 1_000_000
        assert broke.wait(5)
        assert registry.requests[0].received <= 1_000_000
        assert registry.blobs("new") == frozenset()

    def test_an_answer_that_gets_lost(
        self, registry: Registry, proxy: HttpFaultProxy, ask: Ask
    ) -> None:
        proxy.inject(Fault(lose=True), method="POST")
        with pytest.raises(ConnectionError):
            ask(proxy.url + UPLOAD.replace("app", "new"), "POST", CONTENT)
        assert registry.blobs("new") == {DIGEST}

    def test_a_request_that_gets_lost(
        self, registry: Registry, proxy: HttpFaultProxy, ask: Ask
    ) -> None:
        proxy.inject(Fault(drop=True), method="POST")
        with pytest.raises(ConnectionError):
            ask(proxy.url + UPLOAD, "POST", b"small")
        assert registry.requests == ()

    def test_short_wrong_and_other_bytes(self, proxy: HttpFaultProxy, ask: Ask) -> None:
        proxy.inject(Fault(truncate=70_000))
        assert ask(proxy.url + BLOB).body == CONTENT[:70_000]
        proxy.inject(Fault(short_after=70_000))
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(proxy.url + BLOB)
        assert caught.value.partial == CONTENT[:70_000]
        proxy.inject(Fault(corrupt=True))
        body = ask(proxy.url + BLOB).body
        assert [n for n in range(len(body)) if body[n] != CONTENT[n]] == [len(CONTENT) // 2]

    def test_an_upload_with_wrong_bytes(self, proxy: HttpFaultProxy, ask: Ask) -> None:
        proxy.inject(Fault(corrupt_request=True), method="POST")
        answer = ask(proxy.url + UPLOAD, "POST", CONTENT)
        assert answer.status == 400
        assert b"DIGEST_INVALID" in answer.body

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_rate(self, proxy: HttpFaultProxy, ask: Ask, method: str) -> None:
        proxy.inject(Fault(rate=6_000_000), times=None)
        start = time.monotonic()
        if method == "GET":
            assert ask(proxy.url + BLOB).body == CONTENT
        else:
            assert ask(proxy.url + UPLOAD, "POST", CONTENT).status == 201
        assert 0.35 <= time.monotonic() - start < 5


class TestRealServers:
    def test_docker_registry(
        self, docker_registry: MakeDockerRegistry, fault_proxy: MakeFaultProxy, ask: Ask
    ) -> None:
        proxy = fault_proxy(docker_registry(tls=False).url)
        began = ask(f"{proxy.url}/v2/app/blobs/uploads/", "POST")
        location = began.headers["Location"]
        assert location.startswith(proxy.url)
        query = "&" if "?" in location else "?"
        put = ask(f"{location}{query}digest={DIGEST}", "PUT", CONTENT)
        assert put.status == 201
        assert ask(proxy.url + BLOB).body == CONTENT

    def test_docker_registry_with_tls_on_the_other_side_only(
        self,
        docker_registry: MakeDockerRegistry,
        fault_proxy: MakeFaultProxy,
        tls_files: TlsFiles,
        ask: Ask,
    ) -> None:
        proxy = fault_proxy(docker_registry(tls=True).url, upstream_ca=tls_files.ca)
        began = ask(f"{proxy.url}/v2/app/blobs/uploads/", "POST")
        assert began.headers["Location"].startswith(proxy.url)
        secure = fault_proxy(docker_registry().url, tls=True)
        began = ask(f"{secure.url}/v2/app/blobs/uploads/", "POST", ca_file=tls_files.ca)
        assert began.headers["Location"].startswith(secure.url)

    def test_signatures_stay_good(
        self, versitygw: MakeVersityGateway, fault_proxy: MakeFaultProxy
    ) -> None:
        import boto3

        gateway = versitygw()
        proxy = fault_proxy(gateway.endpoint_url)
        client = boto3.client(
            "s3",
            endpoint_url=proxy.url,
            region_name=gateway.region,
            aws_access_key_id=gateway.access_key,
            aws_secret_access_key=gateway.secret_key,
        )
        client.create_bucket(Bucket="site")
        proxy.inject(Fault(answer=Response(503)), method="PUT", pattern="index.html")
        client.put_object(Bucket="site", Key="a b/index.html", Body=CONTENT)
        got = client.get_object(Bucket="site", Key="a b/index.html")["Body"].read()
        assert got == CONTENT
        assert [r.status for r in proxy.matching("PUT", "index.html")] == [503, 200]
        assert (gateway.root / "site" / "a b" / "index.html").read_bytes() == CONTENT
        client.close()


class TestRules:
    def test_a_rule_of_json(self, proxy: HttpFaultProxy, ask: Ask) -> None:
        parse_rule(
            '{"method": "GET", "pattern": "/blobs/", "times": null, "skip": 1,'
            ' "status": 429, "headers": {"Retry-After": "1"}, "body": "slow", "late": true}'
        ).apply(proxy)
        parse_rule('{"truncate": 5}').apply(proxy)
        answers = [ask(proxy.url + BLOB) for _ in range(3)]
        assert [len(answer.body) for answer in answers] == [5, 4, 4]
        assert (answers[1].status, answers[1].headers["Retry-After"]) == (429, "1")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("{", "JSON object"),
            ("[]", "JSON object"),
            ('{"methods": "GET"}', "no 'methods'"),
            ('{"times": "2"}', "times of a rule can't be '2'"),
            ('{"times": true}', "times of a rule can't be True"),
            ('{"body": "x"}', "has a status"),
        ],
    )
    def test_no_rule(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            parse_rule(text)

    def test_it_runs_as_a_program(self, registry: Registry, ask: Ask) -> None:
        rule = '{"pattern": "/blobs/", "status": 418}'
        command = [sys.executable, "-m", "imgctl_core.testing.faultproxy", registry.url]
        process = subprocess.Popen(
            [*command, "--rule", rule, "--quiet"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert [ask(url + BLOB).status for _ in range(2)] == [418, 200]
        finally:
            process.terminate()
            process.communicate()
        done = subprocess.run([*command, "--rule", "{}}"], capture_output=True, text=True)
        assert done.returncode == 2
        assert "a rule is a JSON object" in done.stderr
