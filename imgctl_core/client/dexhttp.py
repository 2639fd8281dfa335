"""HTTP to Dex: no redirect, no proxy for this machine, and a limit on size and time."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from imgctl_core.client.transport import Url
from imgctl_core.errors import ImgctlError, InvalidSetting, IssuerUnreachable
from imgctl_core.text import one_line
from imgctl_core.tls import client_context

REQUEST_SECONDS = 15.0
"""How long one request may take in all, name look-up and TLS included."""

_CONNECT_SECONDS = 5.0
_MAX_BODY = 1024 * 1024

_T = TypeVar("_T")


@dataclass(frozen=True)
class Answer:
    """What came back. `ahead` is how many seconds this machine's clock is ahead of Dex's.

    None stands for an answer without a readable Date. The header is cut to whole
    seconds, so the figure is good to a second and the time the answer took to arrive.
    """

    status: int
    body: bytes
    location: str
    ahead: float | None


class DexHttp:
    """The way to one Dex; `ca_file` is trusted beside the system's certificates.

    Raises:
        InvalidSetting: the CA file or a proxy variable can't be used.
    """

    def __init__(
        self,
        url: Url,
        *,
        ca_file: Path | None = None,
        request_seconds: float = REQUEST_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._seconds = request_seconds
        self._clock = clock
        self._pool = _pool(url, ca_file)

    def get(self, address: str) -> Answer:
        """Fetch a document. Raises IssuerUnreachable."""
        return self._request("GET", address, None, {})

    def post_form(self, address: str, fields: Mapping[str, str]) -> Answer:
        """Send a form. Raises IssuerUnreachable."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._request("POST", address, urlencode(fields).encode("ascii"), headers)

    def close(self) -> None:
        self._pool.clear()

    def _request(
        self, method: str, address: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        shown = one_line(address, 200)
        try:
            return within(
                self._seconds,
                lambda: self._exchange(method, address, body, headers),
            )
        except TimeoutError:
            raise IssuerUnreachable(
                f"Dex at {shown} did not answer within {self._seconds:g} seconds",
                fix="check --dex-url and the network, or try again",
            ) from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _unreachable(shown, error, proxy=self._proxied) from None

    @property
    def _proxied(self) -> bool:
        return isinstance(self._pool, urllib3.ProxyManager)

    def _exchange(
        self, method: str, address: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        response = self._pool.request(
            method,
            address,
            body=body,
            headers={"Accept": "application/json", "User-Agent": "imgctl", **headers},
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=self._seconds),
        )
        arrived = self._clock()
        try:
            content = _content(response)
        finally:
            response.close()
        return Answer(
            response.status,
            content,
            response.headers.get("Location", ""),
            _ahead(response.headers.get("Date", ""), arrived),
        )


def _content(response: urllib3.BaseHTTPResponse) -> bytes:
    """Read the body. Only the read that finds its end notices that something is missing."""
    content = bytearray()
    while chunk := response.read(64 * 1024):
        content += chunk
        if len(content) > _MAX_BODY:
            raise ValueError("the answer is longer than 1 MiB")
    return bytes(content)


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """Run `work` in a thread and give it up after `seconds`.

    Sockets have limits of their own, but for a single wait: neither a name look-up nor a
    peer that sends one byte a second is bounded by them.

    Raises:
        TimeoutError: it took longer. The thread is left behind and ends by itself; it
            doesn't keep the process alive.
    """
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="imgctl-dex", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise TimeoutError
    return outcome[0]


def _ahead(date: str, now: float) -> float | None:
    try:
        return now - parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _pool(url: Url, ca_file: Path | None) -> urllib3.PoolManager:
    context = _tls(ca_file) if url.scheme == "https" else None
    proxy = "" if url.loopback else _proxy(url)
    if not proxy:
        return urllib3.PoolManager(ssl_context=context, maxsize=1)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(
            "the proxy that HTTPS_PROXY names can't be used: it is no http:// or https:// URL",
            fix="correct HTTPS_PROXY, or put Dex's host into NO_PROXY",
        )
    headers = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=user)
    where = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return urllib3.ProxyManager(where, proxy_headers=headers, ssl_context=context, maxsize=1)


def _proxy(url: Url) -> str:
    if proxy_bypass(f"{url.host}:{url.port}"):
        return ""
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all") or ""


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = client_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except OSError as error:  # ssl.SSLError is one
            raise InvalidSetting(
                f"the CA file {one_line(str(ca_file))} can't be used: {_why(error)}",
                fix="give --ca-file (IMGCTL_CA_FILE) a file of PEM certificates",
            ) from None
    return context


def _unreachable(shown: str, error: Exception, *, proxy: bool) -> IssuerUnreachable:
    cause = _root(error)
    why = _why(cause)
    fix = "check --dex-url and the network, or ask who runs Dex"
    if isinstance(cause, ssl.SSLCertVerificationError):
        fix = "if Dex uses a private CA, give its certificate with --ca-file (IMGCTL_CA_FILE)"
        if "not yet valid" in why or "expired" in why:
            fix = "check this machine's clock; if it is right, Dex's certificate must be renewed"
    elif isinstance(cause, ssl.SSLError):
        fix = "check that --dex-url names a port that speaks TLS"
    elif proxy:
        fix = "check HTTPS_PROXY and NO_PROXY: the request went through a proxy"
    return IssuerUnreachable(f"Dex at {shown} can't be reached: {why}", fix=fix)


def _root(error: BaseException) -> BaseException:
    """Return the innermost cause: urllib3 wraps what the system said several times."""
    seen = {id(error)}
    while True:
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else None
        inner = inner or error.__cause__
        inner = inner or (None if error.__suppress_context__ else error.__context__)
        if inner is None or id(inner) in seen or isinstance(error, ImgctlError):
            return error
        seen.add(id(inner))
        error = inner


def _why(error: BaseException) -> str:
    message = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
    return one_line(str(message) or type(error).__name__)
