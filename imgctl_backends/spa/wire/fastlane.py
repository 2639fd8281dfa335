"""AWS's own S3 client (awscrt) as a plain way to send one S3 call: signed, pooled, in C.

What it does that nobody expects, seen with awscrt 0.38: connections are keyed by host
without port, so that one client must never serve two ports; it tries again by itself,
twice at least, and shows the last answer only; a 200 whose body is cut short, empty or
HTML passes as success; some failures arrive without a status or a body. So there is one
lane per scheme, host, port, region and identity, its own retries are kept as few as it
allows, and what a body says is judged by whoever sent the call.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import awscrt.auth
import awscrt.exceptions
import awscrt.http
import awscrt.io
import awscrt.s3

from imgctl_backends.spa.wire.renewing import Renewable

# The library carries no types.
_AUTH: Final[Any] = awscrt.auth
_HTTP: Final[Any] = awscrt.http
_IO: Final[Any] = awscrt.io
_S3: Final[Any] = awscrt.s3

#: About 2.5 connections per Gbps: this allows 250, and a window of our own uses fewer.
_THROUGHPUT: Final = 100.0
_MEMORY: Final = 1024**3
_CONNECT_MS: Final = 3000


@dataclass(frozen=True, slots=True)
class Request:
    """One S3 call. `path` is percent-encoded, with its query."""

    operation: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(slots=True)
class Answer:
    """What came back. `status` is None and `error` a CRT name when nothing did."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a lane leads: `host` as in the Host header, with the port unless default."""

    scheme: str
    host: str
    region: str


class Lane:
    """Sends calls to one address as one identity. Safe from any thread."""

    def __init__(self, address: Address, credentials: Renewable, ca_file: str) -> None:
        self._host = address.host
        self._keys = _Keys(credentials)
        tls = None
        if address.scheme == "https":
            options = _IO.TlsContextOptions()
            options.override_default_trust_store_from_path(None, ca_file)
            tls = _IO.ClientTlsContext(options).new_connection_options()
            tls.set_server_name(_name(address.host))
        self._client = _S3.S3Client(
            region=address.region,
            tls_mode=_S3.S3RequestTlsMode.ENABLED if tls else _S3.S3RequestTlsMode.DISABLED,
            tls_connection_options=tls,
            signing_config=_S3.create_default_s3_signing_config(
                region=address.region, credential_provider=self._keys.provider
            ),
            throughput_target_gbps=_THROUGHPUT,
            memory_limit=_MEMORY,
            retry_config=_S3.S3RetryConfig(max_retries=1, backoff_scale_factor_ms=1),
            connect_timeout_ms=_CONNECT_MS,
        )

    def freshen(self) -> None:
        """Renew credentials that are about to expire; may take a network call.

        Call it now and then from a thread of ours: the client's own must never wait.

        Raises:
            botocore.exceptions.BotoCoreError, ClientError: there are none to be had.
        """
        self._keys.freshen()

    def renew(self, sent: float) -> bool:
        """Have credentials anew, since a call that was sent then was told that they ended.

        Returns whether there are others now; `sent` is a `time.monotonic()` value. May
        take a network call.

        Raises:
            botocore.exceptions.BotoCoreError, ClientError: there are none to be had.
        """
        renewed = self._keys.renew(sent)
        self._keys.freshen()
        return renewed

    def send(self, request: Request, done: Callable[[Answer], None]) -> Callable[[], None]:
        """Send a call; return what cancels it.

        `done` gets the answer, once, in the client's thread, and must only take it.
        """
        headers = _HTTP.HttpHeaders(list(request.headers))
        headers.set("Host", self._host)
        headers.set("User-Agent", "imgctl")
        if request.method in ("PUT", "POST"):
            headers.set("Content-Length", str(len(request.body)))
        body = io.BytesIO(request.body) if request.body else None
        collector = _Collector(done)
        try:
            sent = self._client.make_request(
                type=_S3.S3RequestType.DEFAULT,
                operation_name=request.operation,
                request=_HTTP.HttpRequest(request.method, request.path, headers, body),
                on_headers=collector.on_headers,
                on_body=collector.on_body,
                on_done=collector.on_done,
            )
        except awscrt.exceptions.AwsCrtError as error:
            done(Answer(error=error.name))
            return lambda: None
        cancel: Callable[[], None] = sent.cancel
        return cancel


class _Collector:
    __slots__ = ("_body", "_done", "_headers", "_status")

    def __init__(self, done: Callable[[Answer], None]) -> None:
        self._done = done
        self._status: int | None = None
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    def on_headers(self, status_code: int, headers: list[tuple[str, str]], **_: Any) -> None:
        self._status, self._headers = status_code, headers

    def on_body(self, chunk: bytes, offset: int, **_: Any) -> None:
        if offset == 0:
            self._body.clear()  # a try that the client made on its own begins again
        self._body.append(chunk)

    def on_done(
        self,
        error: BaseException | None = None,
        error_headers: list[tuple[str, str]] | None = None,
        error_body: bytes | None = None,
        status_code: int | None = None,
        **_: Any,
    ) -> None:
        if error is None:
            status, headers, body, name = (
                status_code or self._status,
                self._headers,
                b"".join(self._body),
                "",
            )
        else:
            status, headers, body = status_code, error_headers or [], error_body or b""
            name = getattr(error, "name", type(error).__name__)
        lower = {key.lower(): value for key, value in headers}
        self._done(Answer(status, lower, body, name))


class _Keys:
    """Credentials as the client takes them: always ready, renewed by us."""

    def __init__(self, credentials: Renewable) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()
        self._ready = self._take()
        if credentials.lasting:
            frozen = credentials.get_frozen_credentials()
            # A delegate is called once per attempt, one call after the other.
            self.provider = _AUTH.AwsCredentialsProvider.new_static(
                frozen.access_key, frozen.secret_key, frozen.token
            )
        else:
            self.provider = _AUTH.AwsCredentialsProvider.new_delegate(self._give)

    def freshen(self) -> None:
        if not self._credentials.lasting:
            with self._lock:
                self._ready = self._take()

    def renew(self, sent: float) -> bool:
        return not self._credentials.lasting and self._credentials.renew(sent)

    def _take(self) -> Any:
        frozen = self._credentials.get_frozen_credentials()
        return _AUTH.AwsCredentials(frozen.access_key, frozen.secret_key, frozen.token)

    def _give(self) -> Any:
        return self._ready


def _name(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).strip("[]")
