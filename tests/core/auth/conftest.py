"""Tokens and issuers for the tests of this folder, made without the code under test.

Signatures come from `cryptography` and the compact form from a few lines here, so that a
mistake of the verifier's libraries can't hide on both sides.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from imgctl_core.auth.keys import Jwk, UnknownKey
from imgctl_core.auth.tokens import JoseTokenVerifier

ISSUER = "https://dex.example.com/dex"
AUDIENCE = "https://imgctl.example.com"
#: Dex's subject of user `alice` at connector `ssh`.
ALICE = "CgVhbGljZRIDc3No"


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True)
class Signer:
    """A key pair of an issuer."""

    kid: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @property
    def algorithm(self) -> str:
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    def sign(self, data: bytes, digest: hashes.HashAlgorithm | None = None) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), digest or hashes.SHA256())
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        size = (self.private.curve.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def jwk(self, **changes: object) -> dict[str, object]:
        """Return the public key as Dex publishes it. None takes a member away."""
        public = self.private.public_key()
        members: dict[str, object] = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            members |= {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        else:
            size = (public.curve.key_size + 7) // 8
            point = public.public_numbers()
            members |= {
                "kty": "EC",
                "crv": {"secp256r1": "P-256", "secp384r1": "P-384"}[public.curve.name],
                "x": b64(point.x.to_bytes(size, "big")),
                "y": b64(point.y.to_bytes(size, "big")),
            }
        return without_none(members | changes)

    def public(self, encoding: serialization.Encoding) -> bytes:
        return self.private.public_key().public_bytes(
            encoding, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def without_none(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


@dataclass
class Clock:
    """A clock that stands still until told. python-jose looks at the real one too."""

    now: float

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class StaticKeys:
    """A `KeySource` that hands out what it was given, unchecked, and counts."""

    keys: dict[str, Jwk]
    asked: list[str] = field(default_factory=list)

    def key(self, kid: str) -> Jwk:
        self.asked.append(kid)
        if kid not in self.keys:
            raise UnknownKey
        return self.keys[kid]


@dataclass(frozen=True)
class Kit:
    """Everything to make tokens, and a verifier to show them to."""

    rsa: Signer
    other: Signer
    ec: Signer
    p384: Signer
    weak: Signer
    clock: Clock
    keys: StaticKeys

    issuer = ISSUER
    audience = AUDIENCE
    alice = ALICE

    def verifier(self, **changes: Any) -> JoseTokenVerifier:
        settings: dict[str, Any] = {
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "keys": self.keys,
            "allowed_connectors": ("ssh",),
            "max_lifetime": 24 * 3600,
            "clock": self.clock,
        }
        return JoseTokenVerifier(**(settings | changes))

    def claims(self, **changes: object) -> dict[str, object]:
        """Return what Dex says of alice, changed. None takes a claim away."""
        now = int(self.clock.now)
        return without_none(
            {
                "iss": ISSUER,
                "sub": ALICE,
                "aud": AUDIENCE,
                "exp": now + 3600,
                "iat": now - 5,
                "email": "alice@example.com",
                "email_verified": True,
                "name": "alice",
                "groups": ["promoters", "everyone"],
            }
            | changes
        )

    def token(
        self,
        signer: Signer | None = None,
        header: Mapping[str, object] | None = None,
        **claims: object,
    ) -> str:
        """Return a signed token. `header` changes its header; None there takes away."""
        return self.signed(self.claims(**claims), signer, header)

    def signed(
        self,
        claims: object,
        signer: Signer | None = None,
        header: Mapping[str, object] | None = None,
    ) -> str:
        signer = signer or self.rsa
        members = without_none({"alg": signer.algorithm, "kid": signer.kid} | dict(header or {}))
        return self.raw(json.dumps(members).encode(), json.dumps(claims).encode(), signer)

    def raw(self, header: bytes, payload: bytes, signer: Signer | None = None) -> str:
        """Return the token of these very bytes."""
        signed = f"{b64(header)}.{b64(payload)}"
        return f"{signed}.{b64((signer or self.rsa).sign(signed.encode()))}"

    def raw_claims(self, payload: bytes) -> str:
        return self.raw(json.dumps({"alg": "RS256", "kid": self.rsa.kid}).encode(), payload)

    def claims_with(self, extra: str) -> str:
        """Return a token whose payload ends in `extra`, JSON text that may break the rules."""
        return self.raw_claims((json.dumps(self.claims())[:-1] + extra + "}").encode())

    def hmac(self, secret: bytes) -> str:
        """Return a token signed by HS256 with `secret`, with the RSA key's id."""
        header = json.dumps({"alg": "HS256", "kid": self.rsa.kid}).encode()
        signed = f"{b64(header)}.{b64(json.dumps(self.claims()).encode())}"
        return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    def publish(self, **keys: Jwk) -> Kit:
        """Return a kit whose key source has these keys too, unchecked."""
        return replace(self, keys=StaticKeys({**self.keys.keys, **keys}))


@pytest.fixture(scope="session")
def signers() -> dict[str, Signer]:
    def make(kid: str, bits: int) -> Signer:
        return Signer(kid, rsa.generate_private_key(public_exponent=65537, key_size=bits))

    return {
        "rsa": make("rsa", 2048),
        "other": make("other", 2048),
        "weak": make("weak", 1024),
        "ec": Signer("ec", ec.generate_private_key(ec.SECP256R1())),
        "p384": Signer("p384", ec.generate_private_key(ec.SECP384R1())),
    }


@pytest.fixture
def kit(signers: dict[str, Signer]) -> Kit:
    published: dict[str, Jwk] = {name: signers[name].jwk() for name in ("rsa", "ec")}
    return Kit(**signers, clock=Clock(float(int(time.time()))), keys=StaticKeys(published))


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
