"""What Dex's refusals mean, and what to do about each.

Dex says little: every failure of an SSH JWT is the same bare `access_denied`, and some
mistakes in its own configuration are a `server_error`. The table below follows what
Dex's token handler and grants answer with, in the releases with the SSH connector and in
stock Dex.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imgctl_core.client.tokens import LoginSettings
from imgctl_core.errors import ImgctlError, IssuerUnreachable, LoginRefused
from imgctl_core.text import one_line

_CLOCK_SECONDS = 5.0
"""A clock that is wrong by less is not worth a word: answers take their time too."""


class KeyRefused(LoginRefused):
    """Dex takes nothing signed by this key. It may take another key's signature."""


@dataclass(frozen=True)
class Attempt:
    """The circumstances of a refused login."""

    settings: LoginSettings
    issuer: str
    key: str
    ahead: float | None
    secrets: tuple[str, ...] = field(repr=False, default=())


def clock_remark(ahead: float | None) -> str:
    """Say how wrong this machine's clock is, beginning with a comma; empty if it is right."""
    if ahead is None or abs(ahead) <= _CLOCK_SECONDS:
        return ""
    direction = "ahead of" if ahead > 0 else "behind"
    return f", and your clock is {abs(ahead):.0f} s {direction} Dex's"


def explain(
    attempt: Attempt, status: int, document: dict[str, object] | None, location: str
) -> ImgctlError:
    """Turn an answer of the token endpoint that is no success into an error."""
    if 300 <= status < 400:
        return IssuerUnreachable(
            f"Dex redirects the login to {one_line(location, 200)}, which is not followed: the"
            " request holds a secret",
            fix="check --dex-url: it must be Dex's own address",
        )
    code, description = _said(attempt, document)
    lowered = description.lower()
    if code == "access_denied":
        return _key_refused(attempt)
    if code == "invalid_client":
        secret = "the secret that was given" if attempt.settings.client_secret else "no secret"
        return LoginRefused(
            f"Dex does not accept the client {one_line(attempt.settings.client_id, 200)!r} with"
            f" {secret}",
            fix="check --client-id and --client-secret (IMGCTL_CLIENT_ID,"
            " IMGCTL_CLIENT_SECRET) against staticClients in Dex's configuration",
        )
    if code == "unsupported_grant_type":
        return LoginRefused(
            "this Dex does not exchange tokens",
            fix="add urn:ietf:params:oauth:grant-type:token-exchange to oauth2.grantTypes in"
            " Dex's configuration",
        )
    if code == "request_not_supported":
        return LoginRefused(
            f"Dex refuses the token types of the exchange: {description or code}",
            fix="ask who runs Dex which version it is: it must be one with the SSH connector",
        )
    if code == "invalid_request" and "connector" in lowered:
        return _connector_refused(attempt, lowered)
    if code == "invalid_grant" and "connector" in lowered:
        return LoginRefused(
            f"Dex does not let the client {one_line(attempt.settings.client_id, 200)!r} use the"
            f" connector {one_line(attempt.settings.connector_id, 200)!r}",
            fix="add the connector to the client's allowedConnectors in Dex's configuration",
        )
    if code == "invalid_scope":
        return LoginRefused(
            f"Dex refuses the scopes of the login: {description or code}",
            fix=_trust_fix(attempt.settings),
        )
    return _failed(attempt, status, code, description)


def _said(attempt: Attempt, document: dict[str, object] | None) -> tuple[str, str]:
    """Return Dex's error code and description, unless they hold a secret of ours."""
    texts = []
    for name in ("error", "error_description"):
        text = (document or {}).get(name)
        shown = text if isinstance(text, str) else ""
        if any(secret and secret in shown for secret in attempt.secrets):
            shown = ""
        texts.append(one_line(shown, 200))
    return texts[0], texts[1]


def _key_refused(attempt: Attempt) -> KeyRefused:
    settings = attempt.settings
    remark = clock_remark(attempt.ahead)
    connector = one_line(settings.connector_id, 200)
    clock = "set this machine's clock, for instance with NTP; if that is right, " if remark else ""
    return KeyRefused(
        f"Dex refused the login with {attempt.key}{remark}",
        fix=f"{clock}have this public key registered for your user in Dex's connector"
        f" {connector!r}; its dex_instance_id must be {one_line(attempt.issuer, 200)}, its"
        " allowed_issuers must hold kubectl-ssh-oidc and its allowed_target_audiences"
        f" {one_line(settings.wanted_audience, 200)}, where those are set",
    )


def _connector_refused(attempt: Attempt, description: str) -> LoginRefused:
    connector = one_line(attempt.settings.connector_id, 200)
    if "support" in description:
        return LoginRefused(
            f"Dex's connector {connector!r} can't log anyone in by SSH key",
            fix="give --connector-id (IMGCTL_CONNECTOR_ID) the id of the SSH connector, or ask"
            " who runs Dex",
        )
    return LoginRefused(
        f"Dex has no connector {connector!r}",
        fix="give --connector-id (IMGCTL_CONNECTOR_ID) the id of Dex's SSH connector",
    )


def _trust_fix(settings: LoginSettings) -> str:
    if settings.audience_mode != "cross-client":
        return "ask who runs Dex"
    return (
        f"add {one_line(settings.client_id, 200)} to trustedPeers of the client"
        f" {one_line(settings.audience, 200)} in Dex's configuration"
    )


def _failed(attempt: Attempt, status: int, code: str, description: str) -> ImgctlError:
    said = ": ".join(text for text in (code, description) if text) or "no reason given"
    if code == "server_error" and attempt.settings.audience_mode == "cross-client":
        return LoginRefused(
            f"Dex failed at the login ({said}), as it does for a client that it does not trust"
            " with the audience",
            fix=_trust_fix(attempt.settings),
        )
    if status >= 500 or status == 429:
        return IssuerUnreachable(
            f"Dex failed at the login with status {status} ({said})",
            fix="try again in a moment; if it stays, Dex's log has the reason",
        )
    if status == 404:
        return IssuerUnreachable(
            "Dex has no token endpoint where it says that it is",
            fix="check --dex-url, and what stands in front of Dex",
        )
    return LoginRefused(
        f"Dex refused the login with status {status} ({said})",
        fix="Dex's log has the reason; ask who runs it",
    )
