"""The token endpoint: RFC 8693 as Dex does it, its order of checks and its answers."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from imgctl_core.testing.httpd import Request, Response
from imgctl_core.testing.issuer.users import Clients

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"

_LARGEST_FORM: Final = 1024 * 1024
_CROSS_CLIENT: Final = "audience:server:client_id:"


class TokenError(Exception):
    """Becomes an OAuth error response."""

    def __init__(self, status: int, error: str, description: str = "") -> None:
        super().__init__(description or error)
        self.status = status
        self.error = error
        self.description = description

    def response(self) -> Response:
        fields = {"error": self.error}
        if self.description:
            fields["error_description"] = self.description
        return Response(
            self.status, {"Content-Type": "application/json"}, json.dumps(fields).encode()
        )


def read_form(request: Request) -> dict[str, str]:
    """Return the form's fields; of a repeated one, as in Go, the first."""
    if request.method != "POST":
        raise TokenError(400, "invalid_request", "method not allowed")
    fields: dict[str, str] = {}
    body = request.body.read(_LARGEST_FORM) or b""
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        fields.setdefault(name, value)
    return fields


def authenticate_client(request: Request, form: Mapping[str, str], clients: Clients) -> str:
    """Return the client's id: from Basic with URL-encoded parts, else from the form."""
    found = _basic(request)
    name, secret = found or (form.get("client_id", ""), form.get("client_secret", ""))
    known = clients.secrets.get(name)
    if known is None or not hmac.compare_digest(known.encode(), secret.encode()):
        raise TokenError(401, "invalid_client", "Invalid client credentials.")
    return name


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("Authorization").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (unquote_plus(name), unquote_plus(secret)) if colon else None


def check_form(form: Mapping[str, str], connector_id: str, *, grant_enabled: bool) -> None:
    """Check what Dex checks before it looks at the subject token."""
    if form.get("grant_type") != GRANT or not grant_enabled:
        raise TokenError(400, "unsupported_grant_type")
    if form.get("subject_token_type") not in (ID_TOKEN, ACCESS_TOKEN):
        raise TokenError(400, "request_not_supported", "Invalid subject_token_type.")
    if not form.get("subject_token"):
        raise TokenError(400, "invalid_request", "Missing subject_token")
    if form.get("connector_id") != connector_id:
        raise TokenError(400, "invalid_request", "Requested connector does not exist.")


def audience_for(
    form: Mapping[str, str], client: str, clients: Clients, *, any_audience: bool
) -> tuple[str, ...]:
    """Return whom the token is for.

    The fork, `any_audience`, gives every client any string that it asks for; upstream
    ignores `audience`, and knows cross-client scopes of clients that trust each other.
    """
    if any_audience and form.get("audience"):
        return (form["audience"],)
    peers = [
        scope.removeprefix(_CROSS_CLIENT)
        for scope in form.get("scope", "").split()
        if scope.startswith(_CROSS_CLIENT)
    ]
    for peer in peers:
        if peer != client and not clients.trusts(peer, client):
            raise TokenError(500, "server_error")
    return tuple(dict.fromkeys([*peers, client]))
