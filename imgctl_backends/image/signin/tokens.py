"""Bearer tokens, asked of whom the registry names."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from imgctl_backends.image.distribution.failures import unreachable
from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.signin.challenge import Challenge
from imgctl_backends.image.signin.credentials import Login
from imgctl_backends.image.wire.faults import Fault, Interrupted
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.hosts import HostRules
from imgctl_backends.image.wire.retry import RETRIED, Retry
from imgctl_backends.image.wire.transport import Reply, Transport
from imgctl_core.errors import EndpointDenied, EndpointFailed, ImgctlError

Scopes = tuple[str, ...]

#: A token that does not say how long it lives does so for a minute (docker token spec).
_DEFAULT_LIFETIME: Final = 60.0

#: A tenth of its life, but at most five minutes before its end, a token is renewed.
_MARGIN, _LONGEST_MARGIN = 0.1, 300.0

_TOKEN_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Token:
    """A token as a header, and when to fetch another, by `time.monotonic()`."""

    header: str = field(repr=False)
    renew_at: float


class Tokens:
    """Fetches the tokens of one endpoint. Safe to share between threads."""

    def __init__(self, transport: Transport, rules: HostRules, settings: ImageSettings) -> None:
        self._transport = transport
        self._rules = rules
        self._settings = settings

    def fetch(
        self,
        flight: Flight,
        bearer: Challenge,
        registry_url: str,
        scopes: Scopes,
        login: Callable[[], Login | None],
    ) -> Token:
        """Ask for a token until there is one. `login` returns the credentials of now.

        Raises:
            ImgctlError: there is none, or nobody may have our credentials for it.
        """
        retry = Retry(flight, self._settings)
        while True:
            try:
                return self._fetch_once(flight, bearer, registry_url, scopes, login())
            except Fault as fault:
                if not retry.again(fault):
                    raise unreachable(fault) from fault

    def _fetch_once(
        self,
        flight: Flight,
        bearer: Challenge,
        registry_url: str,
        scopes: Scopes,
        login: Login | None,
    ) -> Token:
        realm = bearer.parameters.get("realm", "")
        self._check_realm(realm, registry_url, login)
        query = [("scope", scope) for scope in scopes]
        if service := bearer.parameters.get("service"):
            query.insert(0, ("service", service))
        asked = time.monotonic()
        with self._ask(flight, realm, query, login) as reply:
            if reply.status in RETRIED:
                raise Interrupted(
                    reply.where, reply.status, "no token", reply.header("Retry-After")
                )
            if reply.status != 200:
                raise _no_token(reply)
            return _token(reply, asked)

    def _ask(
        self, flight: Flight, realm: str, query: list[tuple[str, str]], login: Login | None
    ) -> Reply:
        if login is not None and login.identity_token:
            form = [(name, value) for name, value in query if name != "scope"]
            form += [
                ("scope", " ".join(value for name, value in query if name == "scope")),
                ("grant_type", "refresh_token"),
                ("refresh_token", login.identity_token),
                ("client_id", "imgctl"),
            ]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._transport.send(flight, "POST", realm, headers, urlencode(form).encode())
        headers = {}
        if login is not None and login.basic is not None:
            headers["Authorization"] = login.basic
        mark = "&" if "?" in realm else "?"
        return self._transport.send(flight, "GET", realm + mark + urlencode(query), headers)

    def _check_realm(self, realm: str, registry_url: str, login: Login | None) -> None:
        parts, registry = urlsplit(realm), urlsplit(registry_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EndpointFailed(f"the registry {registry.netloc} named no usable token realm")
        if registry.scheme == "https" and parts.scheme != "https":
            raise EndpointFailed(
                f"the registry {registry.netloc} wants a token fetched over plain HTTP"
            )
        if login is not None and not self._rules.may_have_credentials(realm, registry_url):
            raise EndpointDenied(
                f"the registry {registry.netloc} wants our credentials sent to another host, "
                f"{parts.hostname}",
                fix="if that host belongs to the registry, list it in the endpoint's token_hosts",
            )


def renewal(lifetime: float) -> float:
    """Return when to renew what lives that many seconds from now, by `time.monotonic()`."""
    return time.monotonic() + lifetime - min(_LONGEST_MARGIN, _MARGIN * lifetime)


def _no_token(reply: Reply) -> ImgctlError:
    if reply.status in (400, 401, 403):
        return EndpointDenied(
            f"{reply.where} refused us a token (HTTP {reply.status})",
            fix="check the endpoint's credentials, and what they may do in this repository",
        )
    return EndpointFailed(f"{reply.where} gave us no token (HTTP {reply.status})")


def _token(reply: Reply, asked: float) -> Token:
    try:
        answer = json.loads(reply.body(_TOKEN_BYTES))
        value = answer.get("token") or answer.get("access_token")
        lifetime = float(answer.get("expires_in") or _DEFAULT_LIFETIME)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise EndpointFailed(f"{reply.where} sent a token answer that is no JSON") from error
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise EndpointFailed(f"{reply.where} sent a token answer without a token")
    taken = time.monotonic() - asked
    return Token(f"Bearer {value}", renewal(max(1.0, lifetime)) - taken)
