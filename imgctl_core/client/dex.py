"""Dex's side of a login: what it says of itself, and the exchange of tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from imgctl_core.client.dexanswers import Attempt, clock_remark, explain
from imgctl_core.client.dexhttp import Answer, DexHttp
from imgctl_core.client.tokens import LoginSettings, Token, read_token
from imgctl_core.client.transport import Url, safe_url
from imgctl_core.errors import InvalidSetting, IssuerUnreachable, LoginRefused
from imgctl_core.text import one_line

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
# The type that Dex's handler takes for an SSH JWT; it refuses `…:jwt` and `ssh_jwt`.
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:access_token"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a name, no secret
_SCOPES = "openid email groups profile"


@dataclass(frozen=True)
class Provider:
    """What discovery said: Dex's name for itself, and where tokens are exchanged."""

    issuer: str
    token_endpoint: str
    ahead: float | None


def dex_url(settings: LoginSettings) -> Url:
    """Return Dex's address. Raises InvalidSetting, without any network."""
    if not settings.dex_url:
        raise InvalidSetting(
            "it is not known which Dex to log in at", fix="give --dex-url or set DEX_URL"
        )
    return safe_url(settings.dex_url, "--dex-url", "https://dex.example.com")


class Dex:
    """A conversation with the Dex of `settings`; a context manager."""

    def __init__(self, settings: LoginSettings, http: DexHttp, url: Url) -> None:
        self._settings = settings
        self._http = http
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def discover(self) -> Provider:
        """Ask Dex for its name and its token endpoint.

        Raises:
            IssuerUnreachable: nobody answers, or it is no OpenID provider.
            InvalidSetting: it goes by another name than `dex_url`.
        """
        base = self._url.text.rstrip("/")
        address = f"{base}/.well-known/openid-configuration"
        answer = self._http.get(address)
        document = _object(answer)
        if answer.status != 200 or document is None:
            raise IssuerUnreachable(
                f"there is no OpenID provider at {base}: {_told(answer)}",
                fix="check --dex-url: it is Dex's issuer, with its path (such as /dex)",
            )
        issuer = document.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != base:
            named = one_line(issuer, 200) if isinstance(issuer, str) else "nothing"
            raise InvalidSetting(
                f"--dex-url is {base}, but the Dex there calls itself {named}",
                fix=f"if that is the Dex you mean, use --dex-url {named}; otherwise ask who"
                " runs it",
            )
        return Provider(issuer, self._token_endpoint(document), answer.ahead)

    def exchange(self, provider: Provider, subject_token: str, key: str, now: float) -> Token:
        """Trade an SSH JWT for an OIDC token; `key` names the key that signed it.

        Raises:
            dexanswers.KeyRefused: Dex takes nothing signed by this key; another may do.
            LoginRefused: Dex refuses for another reason, or gave a token that is of no use.
            IssuerUnreachable: no usable answer.
        """
        answer = self._http.post_form(provider.token_endpoint, self._form(subject_token))
        attempt = Attempt(
            settings=self._settings,
            issuer=provider.issuer,
            key=key,
            ahead=provider.ahead if answer.ahead is None else answer.ahead,
            secrets=(subject_token, self._settings.client_secret),
        )
        document = _object(answer)
        if answer.status != 200:
            raise explain(attempt, answer.status, document, answer.location)
        if document is None:
            raise IssuerUnreachable(
                f"Dex at {self._url.text} answered the login with {_told(answer)}",
                fix="check that nothing stands between you and Dex, or try again",
            )
        return self._checked(document, attempt, now)

    def _form(self, subject_token: str) -> dict[str, str]:
        settings = self._settings
        form = {
            "grant_type": _GRANT,
            "subject_token": subject_token,
            "subject_token_type": _SUBJECT_TYPE,
            "requested_token_type": _ID_TOKEN,
            "connector_id": settings.connector_id,
            "scope": _SCOPES,
            "client_id": settings.client_id,
            "client_secret": settings.client_secret,
        }
        if settings.audience_mode == "audience":
            form["audience"] = settings.audience
        elif settings.audience_mode == "cross-client":
            form["scope"] += f" audience:server:client_id:{settings.audience}"
        return form

    def _token_endpoint(self, document: dict[str, object]) -> str:
        endpoint = document.get("token_endpoint")
        try:
            url = safe_url(str(endpoint), "the token endpoint", "https://dex.example.com/token")
        except InvalidSetting as error:
            raise _bad_endpoint(error.message) from None
        # The client secret goes there: to the Dex that was named, and to nobody else.
        if url.origin != self._url.origin:
            raise _bad_endpoint(f"{one_line(url.text, 200)} is on another host or port than Dex")
        return url.text

    def _checked(self, document: dict[str, object], attempt: Attempt, now: float) -> Token:
        """Return the token of a successful answer; Dex puts it into `access_token`."""
        value, kind = document.get("access_token"), document.get("issued_token_type")
        if kind != _ID_TOKEN or not isinstance(value, str):
            raise LoginRefused(
                "Dex gave another kind of token than the ID token that was asked for",
                fix="ask who runs Dex which version it is: it must support token exchange",
            )
        try:
            token = read_token(value)
        except ValueError as error:
            raise LoginRefused(
                f"Dex gave a token that is of no use: {error}", fix="ask who runs Dex"
            ) from None
        if token.expires_at <= now:
            remark = clock_remark(attempt.ahead)
            raise LoginRefused(
                f"Dex gave a token that has already expired by this machine's clock{remark}",
                fix="set this machine's clock, for instance with NTP",
            )
        if token.claims.get("iss") != attempt.issuer:
            raise LoginRefused(
                "Dex gave a token in the name of another issuer", fix="ask who runs Dex"
            )
        wanted = self._settings.wanted_audience
        if wanted not in token.audiences:
            given = one_line(", ".join(token.audiences)) or "nobody"
            raise LoginRefused(
                f"Dex gave a token for {given}, not for {one_line(wanted, 200)}",
                fix=_audience_fix(self._settings),
            )
        return token


def _audience_fix(settings: LoginSettings) -> str:
    if settings.audience_mode == "audience":
        return (
            "this Dex seems not to know the audience parameter, as stock Dex does not: use"
            " --audience-mode cross-client, with --audience naming the server's Dex client"
        )
    return "check --audience and --client-id, and the server's client in Dex's configuration"


def _bad_endpoint(reason: str) -> IssuerUnreachable:
    return IssuerUnreachable(
        f"Dex names a token endpoint that no secret is sent to: {reason}",
        fix="ask who runs Dex to correct its issuer setting",
    )


def _object(answer: Answer) -> dict[str, object] | None:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _told(answer: Answer) -> str:
    if 300 <= answer.status < 400:
        return f"it redirects to {one_line(answer.location, 200)}, which is not followed"
    if answer.status != 200:
        return f"it answers with status {answer.status}"
    return "its answer is no JSON object"
