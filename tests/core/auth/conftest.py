"""Issuers for the tests of this folder, and the fixtures around keys and tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from imgctl_core.auth.keys import Jwk
from tests.core.auth.door import Door, opened
from tests.core.auth.kit import Clock, Kit, Signer, StaticKeys, without_none


@pytest.fixture(scope="session")
def signers() -> dict[str, Signer]:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.warns(SecurityWarning, match="2048"):
        weak_key = RSAKey.import_key(weak)
    return {
        "rsa": Signer("rsa", RSAKey.generate_key(2048)),
        "other": Signer("other", RSAKey.generate_key(2048)),
        "weak": Signer("weak", weak_key),
        "ec": Signer("ec", ECKey.generate_key("P-256")),
        "p384": Signer("p384", ECKey.generate_key("P-384")),
    }


@pytest.fixture
def kit(signers: dict[str, Signer]) -> Kit:
    published: dict[str, Jwk] = {name: signers[name].jwk() for name in ("rsa", "ec")}
    return Kit(**signers, clock=Clock(float(int(time.time()))), keys=StaticKeys(published))


@pytest.fixture(scope="session")
def hall() -> Iterator[Door]:
    """The one server of this process; take `door`."""
    with opened() as door:
        yield door


@pytest.fixture
def door(hall: Door, kit: Kit) -> Iterator[Door]:
    """A real server behind a real channel, with the kit's verifier."""
    hall.use(kit.verifier())
    yield hall
    hall.use(None)


@dataclass
class Reply:
    """What a fake issuer answers at one path."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    #: Takes over the connection after the request was read, when set.
    handle: Callable[[BaseHTTPRequestHandler], None] | None = None


class Origin:
    """A web server on the loopback that answers what it is told and counts."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.requests: list[str] = []
        #: Set when the test is over: what hangs must go on then.
        self.over = threading.Event()
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                origin.requests.append(f"{self.command} {self.path}")
                reply = origin.replies.get(self.path, Reply(status=404))
                if reply.handle is not None:
                    self.close_connection = True
                    reply.handle(self)
                    return
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(reply.body)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            def do_CONNECT(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a peer that hangs up on us is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        self.scheme = "http"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def json(self, path: str, document: object) -> None:
        self.replies[path] = Reply(json.dumps(document).encode())

    def publish(self, *keys: Mapping[str, object], **discovery: object) -> None:
        """Answer as an issuer with these keys, its discovery document changed."""
        document: dict[str, object] = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.json("/.well-known/openid-configuration", without_none(document | discovery))
        self.json("/keys", {"keys": [dict(key) for key in keys]})

    def hang(self, path: str) -> None:
        def handle(_: BaseHTTPRequestHandler) -> None:
            self.over.wait(30)

        self.replies[path] = Reply(handle=handle)

    def drip(self, path: str, first: bytes, rest: bytes) -> None:
        """Answer `first`, then `rest` again and again, slowly and for ever."""

        def handle(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(first)
            while not self.over.wait(0.02):
                handler.wfile.write(rest)

        self.replies[path] = Reply(handle=handle)

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def new_origin() -> Iterator[Callable[[], Origin]]:
    """Make servers; all are stopped at the end."""
    made: list[Origin] = []

    def make() -> Origin:
        made.append(Origin())
        return made[-1]

    yield make
    for origin in made:
        origin.close()


@pytest.fixture
def origin(new_origin: Callable[[], Origin]) -> Origin:
    return new_origin()


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what a machine may say about proxies and authorities."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
