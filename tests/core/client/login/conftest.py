"""A Dex that checks logins as the real one does, agents that misbehave, and keys.

The Dex here is written against what the real connector accepts and refuses, with
`cryptography` alone: none of the code under test takes part in judging it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from imgctl_core.client.login import LoginSettings
from imgctl_core.client.tokens import Token, read_token
from imgctl_core.testing.ssh import SshKeyFiles, make_ssh_key

AUDIENCE = "https://imgctl.example.com"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
HASHES: dict[int, hashes.HashAlgorithm] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    521: hashes.SHA512(),
}


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_b64url(text: str) -> bytes:
    if "=" in text:
        raise ValueError("padded")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jwt(claims: object) -> str:
    """A token as Dex makes them, but for its signature, which no client can judge."""
    header = {"alg": "RS256", "kid": "0" * 40}
    parts = [b64url(json.dumps(part).encode()) for part in (header, claims)]
    return ".".join([*parts, b64url(b"signature")])


def verify_as_go_does(line: str, signed: bytes, blob: bytes) -> None:
    """Check a signature blob as golang.org/x/crypto/ssh does for the key's own type.

    Raises InvalidSignature or ValueError.
    """
    key = load_ssh_public_key(line.encode())
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(blob, signed)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        r, rest = _mpint(blob)
        s, rest = _mpint(rest)
        if rest:
            raise ValueError("trailing bytes")
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(HASHES[key.key_size]))
    elif isinstance(key, rsa.RSAPublicKey):
        padded = blob.rjust(key.key_size // 8, b"\0")
        key.verify(padded, signed, padding.PKCS1v15(), hashes.SHA1())
    else:
        raise ValueError("unknown key")


def _mpint(data: bytes) -> tuple[int, bytes]:
    (size,) = struct.unpack(">I", data[:4])
    body = data[4 : 4 + size]
    if len(body) != size or not body or body[0] & 0x80:
        raise ValueError("no positive number")
    if body[0] == 0 and (size == 1 or not body[1] & 0x80):
        raise ValueError("not in its shortest form")
    return int.from_bytes(body, "big"), data[4 + size :]


def split_ssh_jwt(token: str) -> tuple[bytes, bytes, dict[str, Any], dict[str, Any]]:
    """Return signed bytes, signature blob, header and claims, decoded strictly."""
    header, claims, signature = token.split(".")
    blob = base64.b64decode(from_b64url(signature), validate=True)
    return (
        f"{header}.{claims}".encode(),
        blob,
        json.loads(from_b64url(header)),
        json.loads(from_b64url(claims)),
    )


@dataclass
class Reply:
    """What a path answers with instead of its usual answer."""

    status: int = 200
    body: object = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[BaseHTTPRequestHandler], None] | None = None


class FakeDex:
    """Dex with an SSH connector. Attributes may be changed between requests."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.lines: dict[str, str] = {}  # public key line -> configured user
        self.audience_parameter = True
        self.trusted = True
        self.clock: Callable[[], float] = time.time
        self.lifetime = 3600.0
        self.replies: dict[str, Reply] = {}
        self.discovery: dict[str, object] = {}
        self.claims: dict[str, object] = {}
        self.requests: list[tuple[str, str]] = []
        self.forms: list[dict[str, str]] = []
        self.client = ("imgctl-cli", "s3cret-of-the-client")
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "https" if tls else "http"
        self.origin = f"{scheme}://{host}:{self._server.server_port}"
        self.issuer = f"{self.origin}/dex"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def know(self, keys: SshKeyFiles, user: str = "alice") -> None:
        self.lines[keys.line] = user

    def answer(self, path: str, reply: Reply) -> None:
        self.replies[f"/dex{path}"] = reply

    def _handler(dex: FakeDex) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(dex.clock(), usegmt=True)

            def do_GET(self) -> None:
                self._serve(dict)

            def do_POST(self) -> None:
                self._serve(self._form)

            def _form(self) -> dict[str, str]:
                size = int(self.headers["Content-Length"])
                text = self.rfile.read(size).decode()
                return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True))

            def _serve(self, read_form: Callable[[], dict[str, str]]) -> None:
                dex.requests.append((self.command, self.path))
                form = read_form()
                if form:
                    dex.forms.append(form)
                reply = dex.replies.get(self.path) or dex.usual(self.path, form)
                if reply.before:
                    reply.before(self)
                body = json.dumps(reply.body).encode() if reply.raw is None else reply.raw
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # A client that hangs up, or won't speak TLS with us.
                    self.close_connection = True

        return Handler

    def usual(self, path: str, form: dict[str, str]) -> Reply:
        if path == "/dex/.well-known/openid-configuration":
            document = {"issuer": self.issuer, "token_endpoint": f"{self.issuer}/token"}
            return Reply(body={**document, **self.discovery})
        if path == "/dex/token":
            return self._token(form)
        return Reply(404, raw=b"not found")

    def _token(self, form: dict[str, str]) -> Reply:
        if (form.get("client_id"), form.get("client_secret")) != self.client:
            return refusal(401, "invalid_client", "Invalid client credentials.")
        if form.get("grant_type") != GRANT:
            return refusal(400, "unsupported_grant_type")
        if form.get("subject_token_type") not in (
            "urn:ietf:params:oauth:token-type:access_token",
            ID_TOKEN,
        ):
            return refusal(400, "request_not_supported", "Invalid subject_token_type.")
        if form.get("connector_id") != "ssh":
            return refusal(400, "invalid_request", "Requested connector does not exist.")
        user = self._user(form["subject_token"])
        if user is None:
            return refusal(401, "access_denied")
        return self._issue(user, form)

    def _user(self, token: str) -> str | None:
        try:
            signed, blob, header, claims = split_ssh_jwt(token)
        except ValueError:
            return None
        now = self.clock()
        good = (
            header["alg"] == "SSH"
            and claims["iss"] == "kubectl-ssh-oidc"
            and claims["aud"] == self.issuer
            and isinstance(claims["target_audience"], str)
            and isinstance(claims["sub"], str)
            and claims["sub"] != ""
            and now < claims["exp"]
            and claims["nbf"] <= now
        )
        for line, user in self.lines.items():
            try:
                verify_as_go_does(line, signed, blob)
            except (InvalidSignature, ValueError, struct.error):
                continue
            return user if good else None
        return None

    def _issue(self, user: str, form: dict[str, str]) -> Reply:
        audience: object = form["client_id"]
        extra: dict[str, object] = {}
        peers = [s for s in form["scope"].split() if s.startswith("audience:server:client_id:")]
        if peers:
            if not self.trusted:
                return refusal(500, "server_error")
            audience = [peers[0].rpartition(":")[2], form["client_id"]]
            extra["azp"] = form["client_id"]
        elif self.audience_parameter and "audience" in form:
            audience = form["audience"]
        now = int(self.clock())
        connector = form["connector_id"].encode()
        subject = bytes([10, len(user)]) + user.encode() + bytes([18, len(connector)]) + connector
        claims = {
            "iss": self.issuer,
            "sub": b64url(subject),
            "aud": audience,
            "iat": now,
            "exp": now + int(self.lifetime),
            "email": f"{user}@example.com",
            "groups": ["engineering@example.com"],
            **extra,
            **self.claims,
        }
        # Dex gives an access token, with an at_hash of its own, unless asked otherwise.
        kind = form.get("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
        body = {
            "access_token": jwt(claims),
            "issued_token_type": kind,
            "token_type": "bearer",
            "expires_in": int(self.lifetime) - 1,
        }
        return Reply(body=body)


def refusal(status: int, error: str, description: str = "") -> Reply:
    body = {"error": error}
    if description:
        body["error_description"] = description
    return Reply(status, body=body)


@pytest.fixture
def dex() -> Iterator[FakeDex]:
    server = FakeDex()
    yield server
    server.close()


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def refuse() -> Callable[..., Reply]:
    return refusal


@pytest.fixture
def start_dex() -> Iterator[Callable[..., FakeDex]]:
    """Return a function that starts another Dex, perhaps with TLS."""
    started: list[FakeDex] = []

    def start(**kwargs: Any) -> FakeDex:
        started.append(FakeDex(**kwargs))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def verify() -> Callable[[str, bytes, bytes], None]:
    return verify_as_go_does


@pytest.fixture
def split() -> Callable[[str], tuple[bytes, bytes, dict[str, Any], dict[str, Any]]]:
    return split_ssh_jwt


@pytest.fixture
def make_token() -> Callable[..., Token]:
    """Return a function that makes a token with these claims."""

    def make(**claims: object) -> Token:
        return read_token(jwt(claims))

    return make


@pytest.fixture(scope="session")
def key_set(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SshKeyFiles]:
    """Return a key of each type that can log in, without passphrase. Never written to."""
    folder = tmp_path_factory.mktemp("keys")
    kinds = {
        "ed25519": ("ed25519", None),
        "ecdsa-256": ("ecdsa", 256),
        "ecdsa-384": ("ecdsa", 384),
        "ecdsa-521": ("ecdsa", 521),
        "rsa": ("rsa", 2048),
    }
    return {
        name: make_ssh_key(folder, kind, bits=bits, name=name, comment=f"{name} of alice")
        for name, (kind, bits) in kinds.items()
    }


@pytest.fixture
def settings(dex: FakeDex, tmp_path: Path) -> LoginSettings:
    """Return settings that fit `dex`, with a cache of their own."""
    return LoginSettings(
        dex_url=dex.issuer,
        client_id=dex.client[0],
        client_secret=dex.client[1],
        audience=AUDIENCE,
        username="alice",
        cache_dir=tmp_path / "cache",
    )


class FakeAgent:
    """An agent that answers as `handle` says: a reply, or None for never.

    An empty reply hangs up. `raw` replies are sent without their length before them.
    """

    def __init__(self, handle: Callable[[bytes], bytes | None], *, raw: bool = False) -> None:
        self._raw = raw
        self._folder = Path(tempfile.mkdtemp(prefix="imgctl-fake-agent-"))
        self.path = str(self._folder / "s")
        self._handle = handle
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(peer)
            with contextlib.suppress(OSError), peer:
                self._converse(peer)

    def _converse(self, peer: socket.socket) -> None:
        while size := peer.recv(4, socket.MSG_WAITALL):
            (length,) = struct.unpack(">I", size)
            answer = self._handle(peer.recv(length, socket.MSG_WAITALL))
            if answer == b"":
                return
            if answer is not None:
                peer.sendall(answer if self._raw else struct.pack(">I", len(answer)) + answer)

    def close(self) -> None:
        for end in (*self._open, self._listener):
            # Closing alone would not wake a thread that waits in recv or accept.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        shutil.rmtree(self._folder)


def agent_list(*entries: tuple[bytes, bytes]) -> bytes:
    """An agent's list of keys: wire form and comment each."""
    body = b"".join(struct.pack(">I", len(part)) + part for entry in entries for part in entry)
    return b"\x0c" + struct.pack(">I", len(entries)) + body


@pytest.fixture
def fake_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., FakeAgent]]:
    """Return a function that starts an agent; SSH_AUTH_SOCK then names it."""
    started: list[FakeAgent] = []

    def start(handle: Callable[[bytes], bytes | None], *, raw: bool = False) -> FakeAgent:
        started.append(FakeAgent(handle, raw=raw))
        monkeypatch.setenv("SSH_AUTH_SOCK", started[-1].path)
        return started[-1]

    yield start
    for agent in started:
        agent.close()


@pytest.fixture
def listing() -> Callable[..., bytes]:
    return agent_list


def wire_blob(line: str) -> bytes:
    return base64.b64decode(line.split()[1])


@pytest.fixture
def blob_of() -> Callable[[str], bytes]:
    return wire_blob


def fingerprint(line: str) -> str:
    digest = hashlib.sha256(wire_blob(line)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@pytest.fixture
def fingerprint_of() -> Callable[[str], str]:
    return fingerprint
