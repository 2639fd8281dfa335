"""One registry, as we speak with it: scheme, credentials, redirects, retries."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imgctl_backends.image.distribution.failures import (
    Problem,
    parse_problem,
    read_problem,
    unreachable,
)
from imgctl_backends.image.ecr.account import EcrAccount
from imgctl_backends.image.ecr.passwords import EcrLogins
from imgctl_backends.image.ecr.repositories import EcrRepositories
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.signin.auth import Authenticator
from imgctl_backends.image.signin.credentials import DockerLogins, FileLogins, Logins, NoLogins
from imgctl_backends.image.signin.tokens import Scopes
from imgctl_backends.image.wire.faults import Fault, Interrupted, Renewed
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.hosts import HostRules, follow, same_origin
from imgctl_backends.image.wire.probing import speaks_tls
from imgctl_backends.image.wire.rates import Rates, actions_of
from imgctl_backends.image.wire.retry import RETRIED, Retry
from imgctl_backends.image.wire.transport import Body, Reply, Transport
from imgctl_core.errors import EndpointFailed

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5
_TOO_MANY: Final = 429

#: Answers that carry nothing but a word of explanation end here.
_SMALL: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end."""

    reply: Reply
    content: bytes

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def problem(self) -> Problem:
        return parse_problem(self.status, self.content)

    def header(self, name: str) -> str | None:
        return self.reply.header(name)


class Registry:
    """The distribution API of one endpoint. Safe to share between threads.

    `rates` are shared by all registries of a server. `ecr` is what only ECR can be asked,
    None elsewhere.
    """

    def __init__(
        self, endpoint: ImageEndpoint, settings: ImageSettings, rates: Rates | None = None
    ) -> None:
        self.address = endpoint.address
        self.settings = settings
        self.identity = endpoint.identity
        rules = HostRules(endpoint)
        self.transport = Transport(endpoint, settings, rules)
        self.limits = (rates or Rates()).limits(endpoint, settings)
        account = EcrAccount(endpoint, settings.ecr_region) if endpoint.ecr else None
        self.ecr = (
            EcrRepositories(account, endpoint.create_repositories, self.limits)
            if account is not None
            else None
        )
        logins = logins_of(endpoint, settings, account)
        self._auth = Authenticator(logins, self.transport, rules, settings, self.limits)
        self._scheme = self.address.scheme
        self._probe = threading.Lock()

    def __str__(self) -> str:
        return self.address.netloc

    def mounts_from(self, source: Registry) -> bool:
        """Return whether blobs of `source` may be mounted here: one place, one identity.

        ECR mounts within an account and region, where that is switched on; asking costs
        a call to its API every minute.
        """
        if self.identity != source.identity:
            return False
        if self.ecr is None or source.ecr is None:
            same = self.address.place[:2] == source.address.place[:2]
            return same and self.ecr is None and source.ecr is None
        return self.ecr.place == source.ecr.place and self.ecr.may_mount()

    def url(self, flight: Flight) -> str:
        """Return `https://host:port`, or `http://…` where that is what it speaks."""
        if not self._scheme:
            retry = Retry(flight, self.settings)
            while not self._scheme:
                try:
                    self._find_scheme(flight)
                except Fault as fault:
                    if not retry.again(fault):
                        raise unreachable(fault) from fault
        return f"{self._scheme}://{self.address.netloc}"

    def call(
        self,
        flight: Flight,
        method: str,
        url: str,
        scopes: Scopes,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = _SMALL,
    ) -> Answer:
        """Send a request until there is an answer worth having, and read all of it.

        Raises:
            ImgctlError: there is none, or it is longer than `limit`, or no credentials.
        """
        retry = Retry(flight, self.settings)
        while True:
            try:
                with self.call_once(
                    flight, method, url, scopes, headers=headers, body=body
                ) as reply:
                    content = reply.body(limit if reply.status < 300 else _SMALL)
                    return Answer(reply, content)
            except Fault as fault:
                if not retry.again(fault):
                    raise unreachable(fault) from fault

    def call_once(
        self,
        flight: Flight,
        method: str,
        url: str,
        scopes: Scopes,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        seconds: float | None = None,
    ) -> Reply:
        """Send a request; only credentials that proved stale make it a second time.

        A body that can be read only once is not sent twice: its caller gets `Renewed`.

        Raises:
            Fault: there is no answer, or one that says "later".
            ImgctlError: there are no credentials.
        """
        streamed = body is not None and not isinstance(body, bytes)
        actions = actions_of(method, url, body=body is not None and body != b"")
        for last in (False, True):
            used = self._header(flight, url, scopes)
            sent = self.limits.pace(flight, actions)
            reply = self._send(flight, method, url, used, headers or {}, body, seconds)
            if reply.status == _TOO_MANY:
                self.limits.throttled(actions, sent)
            if reply.status in RETRIED:
                with reply:
                    raise Interrupted(
                        reply.where,
                        reply.status,
                        f"HTTP {reply.status}",
                        reply.header("Retry-After"),
                    )
            if reply.status not in (400, 401, 403) or last:
                return reply
            problem = read_problem(reply)
            base = self.url(flight)
            if not self._auth.refused(flight, base, reply, problem, scopes, used):
                return reply
            reply.close()
            if streamed:
                raise Renewed(reply.where, "our credentials had run out")
        raise AssertionError("the second round always returns")

    def close(self) -> None:
        self.transport.close()
        if self.ecr is not None:
            self.ecr.close()

    def _header(self, flight: Flight, url: str, scopes: Scopes) -> str | None:
        base = self.url(flight)
        return self._auth.header(flight, base, scopes) if same_origin(url, base) else None

    def _send(
        self,
        flight: Flight,
        method: str,
        url: str,
        authorization: str | None,
        headers: Mapping[str, str],
        body: Body,
        seconds: float | None,
    ) -> Reply:
        sent = dict(headers)
        if authorization is not None:
            sent["Authorization"] = authorization
        origin = url
        for _ in range(_MOST_REDIRECTS):
            reply = self.transport.send(flight, method, url, sent, body, seconds=seconds)
            if method not in ("GET", "HEAD") or reply.status not in _REDIRECTS:
                return _not_theirs(reply, origin, url)
            with reply:
                url = follow(url, reply.header("Location") or "")
            if not same_origin(url, origin):
                sent.pop("Authorization", None)
        raise EndpointFailed(f"the registry {self} redirected us in circles")

    def _find_scheme(self, flight: Flight) -> None:
        with self._probe:
            if not self._scheme:
                tls = speaks_tls(
                    flight,
                    self.address.host,
                    self.address.port or 443,
                    self.settings.connect_seconds,
                )
                self._scheme = "https" if tls else "http"


def _not_theirs(reply: Reply, origin: str, url: str) -> Reply:
    """Take a redirect's target that refuses us for a link that ran out."""
    if reply.status in (401, 403) and not same_origin(origin, url):
        with reply:
            raise Interrupted(reply.where, reply.status, f"HTTP {reply.status}", None)
    return reply


def logins_of(
    endpoint: ImageEndpoint, settings: ImageSettings, account: EcrAccount | None
) -> Logins:
    """Return where an endpoint's credentials come from; `account` where it is ECR's."""
    if endpoint.auth == "none":
        return NoLogins()
    if endpoint.username is not None and endpoint.password_file is not None:
        return FileLogins(endpoint.username, endpoint.password_file)
    if account is not None:
        return EcrLogins(endpoint, settings.ecr_region, account)
    return DockerLogins(endpoint, required=endpoint.auth == "basic")
