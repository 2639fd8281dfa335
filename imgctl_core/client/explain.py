"""Why an imgctl server may have refused a token. The server never says."""

from __future__ import annotations

from imgctl_core.auth.subject import parse_subject
from imgctl_core.client.tokens import LoginSettings, Token, number
from imgctl_core.text import one_line
from imgctl_core.wirelimits import LEEWAY, MAX_TOKEN, MAX_TOKEN_LIFETIME


def explain_refusal(token: Token, settings: LoginSettings, now: float) -> tuple[str, str]:
    """Return what is probably wrong with a token that a server refused, and what to do.

    Judged from the token's own claims, the settings it was asked for with, and this
    machine's clock: `now`, seconds since 1970. When nothing is wrong from here, the
    answer says what the server must be set to for this token to be accepted.
    """
    return _times(token, now) or _names(token, settings) or _form(token) or _server(token)


def _times(token: Token, now: float) -> tuple[str, str] | None:
    clock = "set this machine's clock, for instance with NTP, and log in again"
    if token.expires_at <= now:
        return (
            f"the token expired {now - token.expires_at:.0f} s ago by this machine's clock",
            "run the command again to log in anew; if it stays, check this machine's clock",
        )
    issued = number(token.claims.get("iat"))
    if issued is not None and issued > now + LEEWAY:
        ahead = issued - now
        return (f"your clock is at least {ahead:.0f} s behind the clock of Dex", clock)
    start = number(token.claims.get("nbf"))
    if start is not None and start > now + LEEWAY:
        return (f"the token is not valid for another {start - now:.0f} s", clock)
    return None


def _names(token: Token, settings: LoginSettings) -> tuple[str, str] | None:
    issuer = token.claims.get("iss")
    named = one_line(issuer, 200) if isinstance(issuer, str) else "nobody"
    if settings.dex_url and named.rstrip("/") != settings.dex_url.rstrip("/"):
        return (
            f"the token is from {named}, not from {one_line(settings.dex_url, 200)}",
            f"use --dex-url {named}, or log in at the Dex that the server trusts",
        )
    wanted = settings.wanted_audience
    if wanted not in token.audiences:
        return (
            f"the token is for {_shown(token.audiences)}, not for {one_line(wanted, 200)}",
            "check --audience and --audience-mode against the server's OIDC_AUDIENCE",
        )
    return None


def _form(token: Token) -> tuple[str, str] | None:
    size = len(token.value)
    if size > MAX_TOKEN:
        message = f"the token is {size} bytes long, more than the {MAX_TOKEN} that servers take"
        return message, "have Dex send fewer groups: it is their names that make a token long"
    issued = number(token.claims.get("iat"))
    if issued is not None and token.expires_at - issued > MAX_TOKEN_LIFETIME + LEEWAY:
        hours = (token.expires_at - issued) / 3600
        message = f"the token is good for {hours:.0f} hours, longer than servers take by default"
        fix = (
            "shorten expiry.idTokens in Dex's configuration, or raise the server's"
            " OIDC_MAX_TOKEN_LIFETIME"
        )
        return message, fix
    subject = parse_subject(str(token.claims.get("sub", "")))
    connector = subject.connector if subject else ""
    if connector not in ("", "ssh"):
        message = (
            f"the token was made by Dex's connector {one_line(connector, 200)!r}, and servers take"
            " only 'ssh' by default"
        )
        fix = (
            "use --connector-id ssh, or have the connector added to the server's"
            " OIDC_ALLOWED_CONNECTORS"
        )
        return message, fix
    return None


def _server(token: Token) -> tuple[str, str]:
    issuer, audiences = one_line(str(token.claims.get("iss"))), _shown(token.audiences)
    party, issued = token.claims.get("azp"), number(token.claims.get("iat"))
    given = f", given to {one_line(party)}" if isinstance(party, str) else ""
    lasts = (
        f", and good for {(token.expires_at - issued) / 3600:.1f} hours in all" if issued else ""
    )
    message = (
        f"nothing is wrong with the token from here: it is from {issuer}, for {audiences}{given},"
        f" in date{lasts}"
    )
    fix = (
        "if --audience (IMGCTL_AUDIENCE) or --dex-url was set by hand, check it first; else have"
        f" whoever runs the server compare: its OIDC_ISSUER_URL must be exactly {issuer}, its"
        f" OIDC_AUDIENCE {audiences}, its clock right; its audit log has the reason"
    )
    return message, fix


def _shown(audiences: tuple[str, ...]) -> str:
    return one_line(" or ".join(audiences)) or "nobody"
