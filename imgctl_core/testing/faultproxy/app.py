"""The proxy: takes a request, asks the server behind it, and passes the answer on."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from imgctl_core.testing.faultproxy.upstream import Upstream, UpstreamConnection
from imgctl_core.testing.httpd import HttpServer, Request, Response, StreamBody, UpstreamGone

_PIECE: Final = 64 * 1024
#: Between two neighbours only, so never passed on (RFC 9110, 7.6.1).
_OF_ONE_CONNECTION: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: Where servers name themselves.
_NAMING: Final = frozenset({"location", "link", "www-authenticate"})


class HttpFaultProxy(HttpServer):
    """Passes every request to `upstream`, a URL, and lets those fail that you choose.

    A context manager; `url` and `host` say where it is. `inject` and `faults` make
    requests fail, `requests`, `count` and `traffic` tell what went through. Bodies are
    passed on as they come, in either direction. When the server behind breaks a
    connection, or can't be reached, the client's is reset.

    Nothing is rewritten but the server's own address in Location, Link and
    WWW-Authenticate, so that clients keep coming this way: Host goes on as the client
    sent it, and signatures over it stay good. `rewrites` holds more of such pairs, from
    an origin (`http://127.0.0.1:5001`) to what clients shall see instead.

    upstream_ca
        Whom to trust when `upstream` is https.
    timeout
        Seconds that the server may be silent.
    """

    def __init__(
        self,
        upstream: str,
        *,
        upstream_ca: Path | None = None,
        timeout: float = 60.0,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        super().__init__(self._forward, host=host, port=port, tls_cert=tls_cert, tls_key=tls_key)
        self.rewrites: dict[str, str] = {}
        self._upstream = Upstream(upstream, upstream_ca, timeout)

    @property
    def upstream(self) -> str:
        """The URL of the server behind."""
        return self._upstream.url

    def stop(self) -> None:
        super().stop()
        self._upstream.close()

    def _forward(self, request: Request) -> Response:
        headers = {
            name: request.headers.get(name)
            for name in request.headers
            # Who waited for 100 Continue has had ours.
            if name not in _OF_ONE_CONNECTION and name != "expect"
        }
        chunked = request.body.length is None
        if chunked:
            headers["transfer-encoding"] = "chunked"
        connection = self._upstream.connect()
        try:
            answer = connection.ask(
                request.method, request.target, headers, request.body, chunked=chunked
            )
        except BaseException:
            connection.close()
            raise
        return self._answered(request, connection, answer)

    def _answered(
        self,
        request: Request,
        connection: UpstreamConnection,
        answer: http.client.HTTPResponse,
    ) -> Response:
        bodiless = request.method == "HEAD" or answer.status in (204, 304)
        headers = self._headers(answer, bodiless=bodiless)
        passing = _Passing(self._upstream, connection, answer)
        if bodiless:
            passing.ended()
            return Response(answer.status, headers)
        body = StreamBody(passing.pieces(), passing.length, passing.close)
        return Response(answer.status, headers, body)

    def _headers(
        self, answer: http.client.HTTPResponse, *, bodiless: bool
    ) -> Mapping[str, str | tuple[str, ...]]:
        headers: dict[str, tuple[str, ...]] = {}
        for name, value in answer.getheaders():
            key = name.lower()
            if key in _OF_ONE_CONNECTION or (key == "content-length" and not bodiless):
                continue
            shown = self._rewritten(value) if key in _NAMING else value
            headers[name] = (*headers.get(name, ()), shown)
        return headers

    def _rewritten(self, value: str) -> str:
        # A server that takes its name from Host knows ours, but not whether we speak TLS.
        other = "http" if self.scheme == "https" else "https"
        origins = {self.upstream: self.url, f"{other}://{self.host}": self.url, **self.rewrites}
        for origin, shown in origins.items():
            value = _replaced(value, origin, shown)
        return value


def _replaced(text: str, origin: str, shown: str) -> str:
    return re.sub(re.escape(origin) + r"(?![\w.:-])", lambda _: shown, text)


class _Passing:
    """One answer on its way through."""

    def __init__(
        self,
        upstream: Upstream,
        connection: UpstreamConnection,
        answer: http.client.HTTPResponse,
    ) -> None:
        self.length = answer.length
        self._upstream = upstream
        self._connection = connection
        self._answer = answer
        self._ended = False

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            UpstreamGone: it does not come to its end.
        """
        came = 0
        try:
            while came != self.length and (piece := self._answer.read1(_PIECE)):
                came += len(piece)
                yield piece
        except (http.client.HTTPException, OSError) as error:
            raise UpstreamGone(f"the server behind went away: {type(error).__name__}") from error
        if self.length is not None and came < self.length:
            raise UpstreamGone("the server behind sent less than it said")
        self.ended()

    def ended(self) -> None:
        """Let others use the connection: the answer was read to its end."""
        self._ended = True
        self._answer.close()
        self._upstream.give_back(self._connection)

    def close(self) -> None:
        """Close the connection, unless others use it already."""
        if not self._ended:
            self._connection.close()
            self._answer.close()
