"""The issuer: discovery, keys, the token endpoint, and tokens made to order."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from imgctl_core.testing.httpd import HttpServer, Request, Response
from imgctl_core.testing.issuer.exchange import (
    ACCESS_TOKEN,
    GRANT,
    ID_TOKEN,
    TokenError,
    audience_for,
    authenticate_client,
    check_form,
    read_form,
)
from imgctl_core.testing.issuer.signing import ABSENT, KeyRing, SigningKey, encode, encode_subject
from imgctl_core.testing.issuer.sshtoken import Refused, check_ssh_token
from imgctl_core.testing.issuer.users import Clients, Connector, User

Mode = Literal["fork", "upstream"]

_JSON: Final = {"Content-Type": "application/json"}
_DAY: Final = 24 * 3600


class Issuer(HttpServer):
    """An OpenID issuer that speaks Dex's SSH token exchange, quirks included.

    A context manager. `url` is the issuer, `requests` what it was asked, `refusals` why
    it refused SSH tokens (which it tells no client), `faults` and `inject` make it fail.
    `stop` takes it down, `start` brings it up again at the same address.

    mode
        "fork": `audience` may be anything, as where the SSH connector comes from;
        "upstream": `audience` is ignored and cross-client scopes are the way; tokens
        have a `jti`.
    connector
        What the SSH connector asks. Its `instance_id` is the issuer's own URL unless
        given.
    path
        What follows the host in the issuer's URL, such as "/dex".
    token_lifetime
        Seconds.
    """

    def __init__(
        self,
        users: Mapping[str, User] | None = None,
        clients: Mapping[str, str] | None = None,
        *,
        trusted_peers: Mapping[str, tuple[str, ...]] | None = None,
        connector: Connector | None = None,
        mode: Mode = "fork",
        path: str = "",
        grant_enabled: bool = True,
        token_lifetime: int = _DAY,
        jwks_max_age: int = 600,
        clock: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        super().__init__(self._respond, host=host, port=port, tls_cert=tls_cert, tls_key=tls_key)
        self.users = dict(users or {})
        self.refusals: list[str] = []
        self.clock = clock
        self._clients = Clients(dict(clients or {}), dict(trusted_peers or {}))
        self._connector = connector
        self._mode = mode
        self._path = path
        self._grant_enabled = grant_enabled
        self._token_lifetime = token_lifetime
        self._jwks_max_age = jwks_max_age
        self._keys = KeyRing()

    @property
    def url(self) -> str:
        return super().url + self._path

    @property
    def connector(self) -> Connector:
        """What the SSH connector asks of a token."""
        return self._connector or Connector(instance_id=self.url)

    @property
    def key(self) -> SigningKey:
        """The key that signs now."""
        return self._keys.current

    def rotate(self, *, keep_old: bool = True) -> SigningKey:
        """Sign with a new key; without `keep_old` the earlier ones are unpublished."""
        return self._keys.rotate(keep_old=keep_old)

    def token(
        self,
        subject: str = "alice",
        *,
        groups: Sequence[str] | None = None,
        audience: str | Sequence[str] = "https://localhost",
        connector_id: str = "ssh",
        headers: Mapping[str, object] | bytes | None = None,
        key: SigningKey | None = None,
        **claims: object,
    ) -> str:
        """Return a token as this issuer would give it to a user, but for what is said.

        Every claim can be replaced by name, or left out by the value `ABSENT`. `groups`
        default to the user's; empty ones are left out, as Dex does. `headers` replaces
        the whole header, `key` signs in place of the issuer's own.
        """
        user = self.users.get(subject, User())
        if groups is not None:
            user = replace(user, groups=tuple(groups))
        who = self._claims(subject, user, {"email", "groups", "profile"}, connector_id)
        who["aud"] = audience if isinstance(audience, str) else list(audience)
        if isinstance(who["aud"], list):
            who["azp"] = who["aud"][-1] if who["aud"] else ""
        chosen = {name: value for name, value in (who | claims).items() if value is not ABSENT}
        return (key or self.key).sign(chosen, headers)

    def _claims(self, name: str, user: User, scopes: set[str], connector_id: str) -> dict[str, Any]:
        now = int(self.clock())
        claims: dict[str, Any] = {
            "iss": self.url,
            "sub": encode_subject(name, connector_id),
            "exp": now + self._token_lifetime,
            "iat": now,
        }
        if "email" in scopes:
            claims |= {"email": user.email or f"{name}@example.com", "email_verified": True}
        if "groups" in scopes and user.groups:
            claims["groups"] = list(user.groups)
        if "profile" in scopes:
            claims["name"] = user.name or name
        if self._mode == "upstream":
            claims["jti"] = secrets.token_hex(16)
        return claims

    def _respond(self, request: Request) -> Response:
        path = request.path.removeprefix(self._path)
        if not request.path.startswith(self._path):
            return _not_found()
        if path == "/token":
            try:
                return self._exchange(request)
            except TokenError as error:
                return error.response()
        if path == "/.well-known/openid-configuration":
            return Response(200, _JSON, json.dumps(self._discovery(), indent=2).encode())
        if path == "/keys":
            cache = f"max-age={self._jwks_max_age}, must-revalidate"
            body = json.dumps({"keys": self._keys.published()}, indent=2).encode()
            return Response(200, {**_JSON, "Cache-Control": cache}, body)
        if path == "/healthz":
            return Response(200, {"Content-Type": "text/plain"}, b"Health check passed")
        return _not_found()

    def _discovery(self) -> dict[str, object]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "grant_types_supported": ["authorization_code", "refresh_token", GRANT],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "groups", "profile", "offline_access"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "claims_supported": ["iss", "sub", "aud", "iat", "exp", "email", "name"],
        }

    def _exchange(self, request: Request) -> Response:
        form = read_form(request)
        client = authenticate_client(request, form, self._clients)
        connector = self.connector
        check_form(form, connector.id, grant_enabled=self._grant_enabled)
        try:
            name = check_ssh_token(form["subject_token"], self.users, connector, self.clock())
        except Refused as error:
            self.refusals.append(str(error))
            # Dex says no more than this, whatever is wrong.
            raise TokenError(401, "access_denied") from error
        kind = form.get("requested_token_type") or ACCESS_TOKEN
        if kind not in (ID_TOKEN, ACCESS_TOKEN):
            raise TokenError(400, "request_not_supported", "Invalid requested_token_type.")
        audience = audience_for(form, client, self._clients, any_audience=self._mode == "fork")
        scopes = set(form.get("scope", "").split())
        claims = self._claims(name, self.users[name], scopes, connector.id)
        claims["aud"] = audience[0] if len(audience) == 1 else list(audience)
        if len(audience) > 1:
            claims["azp"] = client
        if kind == ACCESS_TOKEN:
            half = hashlib.sha256(secrets.token_bytes(16)).digest()[:16]
            claims["at_hash"] = encode(half).decode()
        answer = {
            # Of whichever type: it is in this field.
            "access_token": self.key.sign(claims),
            "issued_token_type": kind,
            "token_type": "bearer",
            "expires_in": self._token_lifetime,
        }
        headers = {**_JSON, "Cache-Control": "no-store", "Pragma": "no-cache"}
        return Response(200, headers, json.dumps(answer).encode())


def _not_found() -> Response:
    return Response(404, {"Content-Type": "text/plain"}, b"404 page not found\n")
