"""The Authorization header of every request to one registry.

Basic is sent at once when there are credentials, without waiting to be asked; a registry
that wants a Bearer token says so once, and from then on tokens are fetched before they
are needed. Everything is per endpoint: two endpoints on one host share nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

from imgctl_backends.image.distribution.failures import Problem, read_problem
from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.signin.challenge import Challenge, parse_challenges
from imgctl_backends.image.signin.credentials import Login, Logins
from imgctl_backends.image.signin.tokens import Scopes, Token, Tokens, renewal
from imgctl_backends.image.wire.faults import Fault
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.hosts import HostRules
from imgctl_backends.image.wire.rates import Limits
from imgctl_backends.image.wire.transport import Reply, Transport

#: A password younger than this did not expire when a registry answers 403.
_SETTLED_SECONDS: Final = 300.0


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
        self._source = Tokens(transport, rules, settings)
        self._lock = threading.Lock()
        self._bearer: Challenge | None = None
        self._tokens: dict[Scopes, Token] = {}
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
                token = self._source.fetch(
                    flight, bearer, registry_url, scopes, lambda: self._login_now(flight)
                )
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

    def _login_now(self, flight: Flight) -> Login | None:
        with _locked(flight, self._lock):
            return self._current_login(flight)

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
        self._renew_at = None if lifetime is None else renewal(lifetime)


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
