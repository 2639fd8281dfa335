"""Logging in: an SSH key's signature, traded at Dex for an OIDC token.

The way with a cached token costs little and touches neither a key nor the network;
everything that a real login needs is imported when it comes to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from imgctl_core.client.explain import explain_refusal
from imgctl_core.client.sshkeys import default_public_key, in_home, read_key_line
from imgctl_core.client.tokencache import TokenCache, default_directory, entry_name
from imgctl_core.client.tokens import AUDIENCE_MODES, LoginSettings, Token
from imgctl_core.errors import InvalidSetting
from imgctl_core.text import is_plain, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from imgctl_core.client.dex import Dex, Provider
    from imgctl_core.client.sshkeys import Signer

__all__ = ["LoginSettings", "Token", "explain_refusal", "login", "logout"]

AskPassphrase = Callable[[str], str]
Say = Callable[[str], None]


def _silent(line: str) -> None:
    """Drop what would be said."""


def login(
    settings: LoginSettings,
    *,
    ask_passphrase: AskPassphrase | None = None,
    say: Say = _silent,
    use_cache: bool = True,
) -> Token:
    """Return a token for the server of `settings`, from the cache or by logging in.

    `ask_passphrase` is called with a prompt when a key file has a passphrase; None means
    that there is no terminal. `say` gets lines for the person who waits: keys that were
    skipped, weak signatures. `use_cache` False asks for a new token even when one is at
    hand; it replaces the cached one.

    Raises:
        InvalidSetting: a setting is missing or wrong; nothing was sent.
        NoUsableKey, AgentUnavailable: there is no key to log in with.
        LoginRefused: Dex said no.
        IssuerUnreachable: Dex could not be reached or gave no usable answer.
    """
    settings = _complete(settings)
    cache, name = _place(settings)
    if use_cache and (token := cache.load(name, time.time())):
        return token
    token = _log_in(settings, ask_passphrase, say)
    if not cache.store(name, token):
        say("the token could not be kept on disk; the next command logs in again")
    return token


def logout(
    issuer: str = "", audience: str = "", *, everything: bool = False, cache_dir: Path | None = None
) -> int:
    """Forget the cached tokens of an issuer for an audience, whichever key and client got them.

    `everything` forgets all that is in the cache, whoever it is from. Returns how many
    tokens there were. A token that was shown or sent stays good until it expires: Dex
    can't take it back.

    Raises:
        InvalidSetting: the cache can't be read or a token in it can't be removed.
    """
    directory = str(cache_dir) if cache_dir else default_directory()
    issuer = issuer.rstrip("/")

    def meant(token: Token) -> bool:
        ours = token.text("iss").rstrip("/") == issuer and audience in token.audiences
        return everything or ours

    try:
        return TokenCache(directory).forget(meant)
    except OSError as error:
        raise InvalidSetting(
            f"the cached tokens in {one_line(directory)} can't be removed:"
            f" {error.strerror or error}",
            fix="remove that folder by hand",
        ) from None


def _complete(settings: LoginSettings) -> LoginSettings:
    """Return the settings with what this machine knows filled in."""
    _check(settings)
    named, ca_file = settings.pubkey_file, settings.ca_file
    return replace(
        settings,
        username=settings.username or _user_of_this_machine(),
        pubkey_file=in_home(named) if named else default_public_key(),
        ca_file=in_home(ca_file) if ca_file else None,
    )


def _place(settings: LoginSettings) -> tuple[TokenCache, str]:
    """Return the cache, and the name that this login has in it."""
    directory = str(settings.cache_dir) if settings.cache_dir else default_directory()
    key = "the agent's keys"
    if settings.pubkey_file is not None:
        # Type and key, without the comment: parsing them would cost more than all else.
        key = " ".join(read_key_line(settings.pubkey_file).split()[:2])
    return TokenCache(directory), entry_name(settings, key=key)


def _check(settings: LoginSettings) -> None:
    if settings.audience_mode not in AUDIENCE_MODES:
        raise InvalidSetting(
            f"--audience-mode {settings.audience_mode!r} is unknown",
            fix=f"use one of {', '.join(AUDIENCE_MODES)}",
        )
    for value, what, flag, variable in (
        (settings.dex_url, "which Dex to log in at", "--dex-url", "DEX_URL"),
        (settings.client_id, "which client to be", "--client-id", "IMGCTL_CLIENT_ID"),
        (settings.wanted_audience, "who the token is for", "--audience", "IMGCTL_AUDIENCE"),
        (settings.connector_id, "which connector", "--connector-id", "IMGCTL_CONNECTOR_ID"),
    ):
        if not value:
            raise InvalidSetting(
                f"a login needs to know {what}", fix=f"give {flag} or set {variable}"
            )
        _check_plain(value, flag, variable)
    _check_plain(settings.username, "--username", "KUBECTL_SSH_USER")
    try:
        settings.client_secret.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidSetting(
            "the client secret is not UTF-8, so no Dex has it",
            fix="check --client-secret (IMGCTL_CLIENT_SECRET)",
        ) from None


def _check_plain(value: str, flag: str, variable: str) -> None:
    """Refuse what can't be meant, and may not even be text: bytes that are no UTF-8."""
    if not is_plain(value):
        raise InvalidSetting(
            f"{flag} {one_line(value, 80)!r} has characters in it that can't be seen",
            fix=f"type it by hand, and check {variable}",
        )


def _user_of_this_machine() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        raise InvalidSetting(
            "this machine has no name for its user",
            fix="give --username or set KUBECTL_SSH_USER",
        ) from None


def _log_in(settings: LoginSettings, ask_passphrase: AskPassphrase | None, say: Say) -> Token:
    from imgctl_core.client.dex import Dex, dex_url
    from imgctl_core.client.dexhttp import DexHttp
    from imgctl_core.client.signers import open_signers

    url = dex_url(settings)
    found = open_signers(
        settings.pubkey_file,
        allow_rsa_sha1=settings.allow_rsa_sha1,
        ask_passphrase=ask_passphrase,
        say=say,
    )
    with found as signers, Dex(settings, DexHttp(url, ca_file=settings.ca_file), url) as dex:
        return _first_accepted(dex, dex.discover(), signers, settings, say)


def _first_accepted(
    dex: Dex,
    provider: Provider,
    signers: tuple[Signer, ...],
    settings: LoginSettings,
    say: Say,
) -> Token:
    """Offer each key once; only a key that Dex or the agent turns down leads to the next."""
    from imgctl_core.client import sshjwt
    from imgctl_core.client.dexanswers import KeyRefused
    from imgctl_core.errors import LoginRefused, NoUsableKey

    refusals: list[KeyRefused] = []
    unsigned: list[NoUsableKey] = []
    for signer in signers:
        if signer.key.is_rsa:
            say(f"signing with SHA-1, which is weak but all that Dex takes from {signer.key}")
        now = time.time()
        signed = sshjwt.signing_input(
            sshjwt.claims(
                username=settings.username,
                issuer=provider.issuer,
                audience=settings.wanted_audience,
                now=now,
            )
        )
        try:
            subject_token = sshjwt.assemble(signed, signer.sign(signed))
            return dex.exchange(provider, subject_token, str(signer.key), now)
        except NoUsableKey as error:
            unsigned.append(error)
        except KeyRefused as error:
            refusals.append(error)
    problems = [*refusals, *unsigned]
    if len(problems) == 1:
        raise problems[0]
    if not refusals:
        raise NoUsableKey("; ".join(error.message for error in problems), fix=unsigned[0].fix)
    raise LoginRefused("; ".join(error.message for error in problems), fix=refusals[0].fix)
