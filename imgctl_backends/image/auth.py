"""The Authorization header of every request to one registry.

Basic is sent at once when there are credentials, without waiting to be asked; a registry
that wants a Bearer token says so once, and from then on tokens are fetched before they
are needed. Everything is per endpoint: two endpoints on one host share nothing.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from imgctl_backends.image.challenge import Challenge, parse_challenges
from imgctl_backends.image.credentials import Login, Logins
from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.failures import Problem, read_problem, unreachable
from imgctl_backends.image.faults import Fault, Interrupted
from imgctl_backends.image.flight import Flight
from imgctl_backends.image.hosts import HostRules
from imgctl_backends.image.rates import Limits
from imgctl_backends.image.retry import RETRIED, Retry
from imgctl_backends.image.transport import Reply, Transport
from imgctl_core.errors import EndpointDenied, EndpointFailed, ImgctlError

Scopes = tuple[str, ...]

#: A token that does not say how long it lives does so for a minute (docker token spec).
_DEFAULT_LIFETIME: Final = 60.0

#: A tenth of its life, but at most five minutes before its end, a token is renewed.
_MARGIN, _LONGEST_MARGIN = 0.1, 300.0

#: A password younger than this did not expire when a registry answers 403.
_SETTLED_SECONDS: Final = 300.0

_TOKEN_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    renew_at: float


class Authenticator:
    """Holds one endpoint's credentials and tokens. Safe to share between threads."""

    def __init__(
        self,
        logins: Logins,
        transport: Transport,
        rules: HostRules,
        settings: ImageSettings,
        limits: Limits,
    ) -> None:
        self._logins = logins
        self._limits = limits
        self._transport = transport
        self._rules = rules
        self._settings = settings
        self._lock = threading.Lock()
        self._bearer: Challenge | None = None
        self._tokens: dict[Scopes, _Token] = {}
        self._fetching: dict[Scopes, threading.Lock] = {}
        self._login: Login | None = None
        self._loaded_at: float | None = None
        self._renew_at: float | None = None

    def header(self, flight: Flight, registry_url: str, scopes: Scopes) -> str | None:
        """Return the Authorization header to send, None for none.

        Raises:
            ImgctlError: there should be credentials or a token, and there are none.
        """
        token = self._tokens.get(scopes)
        if token is not None and time.monotonic() < token.renew_at:
            return token.header
        with _locked(flight, self._lock):
            bearer = self._bearer
            if bearer is None:
                login = self._current_login(flight)
                return login.basic if login is not None else None
            # One scope's token is fetched once, and no other scope waits for it.
            fetching = self._fetching.setdefault(scopes, threading.Lock())
        with _locked(flight, fetching):
            token = self._tokens.get(scopes)
            if token is None or time.monotonic() >= token.renew_at:
                token = self._fetch(flight, bearer, registry_url, scopes)
                self._tokens[scopes] = token
            return token.header

    def refused(
        self,
        flight: Flight,
        registry_url: str,
        reply: Reply,
        problem: Problem,
        scopes: Scopes,
        used: str | None,
    ) -> bool:
        """Learn from a 400, 401 or 403. Return whether the same request may work now.

        `used` is the header that was refused.
        """
        if reply.status not in (400, 401, 403):
            return False
        if reply.status != 401 and not self._expired(flight, registry_url, problem, used):
            return False
        challenges = parse_challenges(reply.headers("WWW-Authenticate"))
        with _locked(flight, self._lock):
            if "bearer" in challenges:
                self._bearer = challenges["bearer"]
            if self._bearer is not None and ("bearer" in challenges or reply.status != 401):
                token = self._tokens.get(scopes)
                if token is not None and token.header == used:
                    self._tokens.pop(scopes, None)
                return True
            return self._renewed(flight, used)

    def _expired(
        self, flight: Flight, registry_url: str, problem: Problem, used: str | None
    ) -> bool:
        """Whether a 400 or 403 means that the login ran out. ECR has no 401 for that.

        ECR answers 403, ECR Public 400, both with the words in the body. A HEAD has no
        body; then the same question is put once more in a way that has one.
        """
        if used is None:
            return False
        if problem.status == 400:
            return _says_expired(problem)
        login, loaded_at = self._login, self._loaded_at
        if login is None or login.lifetime is None or loaded_at is None:
            return False
        if _says_expired(problem) or login.basic not in (None, used):
            return True
        if time.monotonic() - loaded_at > _SETTLED_SECONDS:
            return True
        return not problem.detail and self._proves_expired(flight, registry_url, used)

    def _proves_expired(self, flight: Flight, registry_url: str, used: str) -> bool:
        try:
            with self._transport.send(
                flight, "GET", f"{registry_url}/v2/", {"Authorization": used}
            ) as reply:
                return reply.status == 401 or (
                    reply.status in (400, 403) and _says_expired(read_problem(reply))
                )
        except Fault:
            return False

    def _renewed(self, flight: Flight, used: str | None) -> bool:
        """Load the credentials anew unless another thread just did. Are they others?"""
        if self._login is not None and self._login.basic not in (None, used):
            return True
        self._load(flight)
        return self._login is not None and self._login.basic not in (None, used)

    def _current_login(self, flight: Flight) -> Login | None:
        due = self._renew_at is not None and time.monotonic() >= self._renew_at
        if self._loaded_at is None or due:
            self._load(flight)
        return self._login

    def _load(self, flight: Flight) -> None:
        self._limits.pace(flight, ("get_authorization_token",))
        self._login = self._logins.load()
        self._loaded_at = time.monotonic()
        lifetime = self._login.lifetime if self._login is not None else None
        self._renew_at = None if lifetime is None else _renewal(lifetime)

    def _fetch(
        self, flight: Flight, bearer: Challenge, registry_url: str, scopes: Scopes
    ) -> _Token:
        retry = Retry(flight, self._settings)
        while True:
            try:
                return self._fetch_once(flight, bearer, registry_url, scopes)
            except Fault as fault:
                if not retry.again(fault):
                    raise unreachable(fault) from fault

    def _fetch_once(
        self, flight: Flight, bearer: Challenge, registry_url: str, scopes: Scopes
    ) -> _Token:
        realm = bearer.parameters.get("realm", "")
        with _locked(flight, self._lock):
            login = self._current_login(flight)
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


@contextlib.contextmanager
def _locked(flight: Flight, lock: threading.Lock) -> Iterator[None]:
    """Hold a lock, and wait for it no longer than the work may last."""
    while not lock.acquire(timeout=0.2):
        flight.check()
    try:
        yield
    finally:
        lock.release()


def _says_expired(problem: Problem) -> bool:
    said = problem.detail.lower()
    return "token" in said and "expired" in said


def _renewal(lifetime: float) -> float:
    return time.monotonic() + lifetime - min(_LONGEST_MARGIN, _MARGIN * lifetime)


def _no_token(reply: Reply) -> ImgctlError:
    if reply.status in (400, 401, 403):
        return EndpointDenied(
            f"{reply.where} refused us a token (HTTP {reply.status})",
            fix="check the endpoint's credentials, and what they may do in this repository",
        )
    return EndpointFailed(f"{reply.where} gave us no token (HTTP {reply.status})")


def _token(reply: Reply, asked: float) -> _Token:
    try:
        answer = json.loads(reply.body(_TOKEN_BYTES))
        value = answer.get("token") or answer.get("access_token")
        lifetime = float(answer.get("expires_in") or _DEFAULT_LIFETIME)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise EndpointFailed(f"{reply.where} sent a token answer that is no JSON") from error
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise EndpointFailed(f"{reply.where} sent a token answer without a token")
    taken = time.monotonic() - asked
    return _Token(f"Bearer {value}", _renewal(max(1.0, lifetime)) - taken)
