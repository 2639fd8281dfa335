"""Who may do what: nobody asked, Basic, or Bearer with the token endpoint built in."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl

from imgctl_core.testing.httpd import Request, Response
from imgctl_core.testing.registry.errors import RegistryError

Auth = Literal["none", "basic", "bearer"]

TOKEN_PATH: Final = "/token"
_LARGEST_FORM: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Grant:
    actions: Mapping[str, frozenset[str]]
    expires: float


class Access:
    """Checks requests, and issues tokens when `auth` is "bearer".

    Tokens live `lifetime` seconds. With `anonymous_pull` everybody may read.
    """

    def __init__(
        self,
        auth: Auth,
        username: str,
        password: str,
        *,
        anonymous_pull: bool,
        lifetime: float,
        url: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.auth = auth
        self._login = f"{username}:{password}".encode()
        self._anonymous_pull = anonymous_pull
        self._lifetime = lifetime
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._grants: dict[str, _Grant] = {}

    def expire_tokens(self) -> None:
        """Refuse every token issued until now."""
        with self._lock:
            self._grants.clear()

    def check(self, request: Request, name: str, action: str, source: str = "") -> None:
        """Raise UNAUTHORIZED unless the asker may do that.

        `name` is empty for the base endpoint, `action` is pull, push or delete; `source`
        is a repository that must be readable, too, since a blob is mounted from there.
        """
        if self.auth == "none":
            return
        if self.auth == "basic":
            if not self._knows(request) and not (self._anonymous_pull and action == "pull"):
                raise self._unauthorized("", "", "")
            return
        readable = not source or self.allows(request, source, "pull")
        if not readable or not self.allows(request, name, action):
            raise self._unauthorized(name, action, source)

    def allows(self, request: Request, name: str, action: str) -> bool:
        """Return whether the asker may do that to a repository."""
        if self.auth != "bearer":
            return True
        scheme, _, token = request.headers.get("Authorization").partition(" ")
        with self._lock:
            grant = self._grants.get(token.strip()) if scheme.lower() == "bearer" else None
        if grant is None or grant.expires <= self._clock():
            return False
        granted = grant.actions.get(name, frozenset())
        # Clients that delete ask for push, or for delete, or for both.
        wanted = {action, "*"} | ({"push"} if action == "delete" else set())
        return not name or bool(granted & wanted)

    def issue(self, request: Request) -> Response:
        """Answer the token endpoint: GET with Basic, or POST with a form."""
        form = request.query
        if request.method == "POST":
            form = parse_qsl((request.body.read(_LARGEST_FORM) or b"").decode("latin-1"))
        fields = dict(form)
        known = self._knows(request)
        if fields.get("grant_type") == "password":
            login = f"{fields.get('username', '')}:{fields.get('password', '')}".encode()
            known = hmac.compare_digest(login, self._login)
        if not known and (request.headers.get("Authorization") or not self._anonymous_pull):
            raise RegistryError("UNAUTHORIZED", "the user name or the password is wrong")
        token = secrets.token_urlsafe(24)
        actions = _scopes([value for key, value in form if key == "scope"], known)
        with self._lock:
            self._grants[token] = _Grant(actions, self._clock() + self._lifetime)
        body = {"token": token, "access_token": token, "expires_in": int(self._lifetime)}
        return Response(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _knows(self, request: Request) -> bool:
        scheme, _, encoded = request.headers.get("Authorization").partition(" ")
        try:
            login = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(login, self._login)

    def _unauthorized(self, name: str, action: str, source: str) -> RegistryError:
        if self.auth == "basic":
            challenge = 'Basic realm="imgctl test registry"'
        else:
            challenge = f'Bearer realm="{self._url()}{TOKEN_PATH}",service="imgctl-test"'
            if name:
                actions = "pull" if action == "pull" else f"pull,{action}"
                scope = f"repository:{name}:{actions}"
                scope += f" repository:{source}:pull" if source else ""
                challenge += f',scope="{scope}"'
        return RegistryError(
            "UNAUTHORIZED", "you must log in", headers={"WWW-Authenticate": challenge}
        )


def _scopes(asked: list[str], known: bool) -> dict[str, frozenset[str]]:
    granted: dict[str, frozenset[str]] = {}
    for scope in " ".join(asked).split():
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind == "repository" and name:
            wanted = frozenset(actions.split(","))
            granted[name] = granted.get(name, frozenset()) | (
                wanted if known else wanted & {"pull"}
            )
    return granted
