"""From settings to a conversation with the server: log in, call, log in afresh once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from imgctl_cli.options import Notes
from imgctl_cli.settings import Origin, Value, setting_options
from imgctl_core.errors import InvalidSetting, RateLimited, TokenRefused
from imgctl_core.models import Progress, Promotion

if TYPE_CHECKING:
    from imgctl_core.client.api import Client
    from imgctl_core.client.login import LoginSettings, Token
    from imgctl_core.client.target import Target

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: In characters. A file without an end, such as a device, is no secret.
_LONGEST_SECRET = 64 * 1024

#: How long a command waits in all, in seconds, for a server that says when to call again.
_PATIENCE = 30.0

#: What it takes to talk to the server, in the order of the help.
CONNECTION = (
    "server",
    "dex_url",
    "client_id",
    "client_secret",
    "client_secret_file",
    "pubkey_file",
    "username",
    "audience",
    "audience_mode",
    "connector_id",
    "rsa_sha1",
    "ca_file",
    "client_cert",
    "client_key",
)


def connection_options(function: F) -> F:
    """Give a command the flags of every setting that a connection needs."""
    return setting_options(*CONNECTION)(function)


@dataclass(frozen=True, slots=True)
class Connection:
    """Which server, and who logs in where. Made before any network is touched."""

    server: str
    dex_url: str
    client_id: str
    client_secret: str = field(repr=False)
    audience: str
    audience_mode: str
    connector_id: str
    pubkey_file: Path | None
    username: str
    ca_file: Path | None
    client_cert: Path | None = None
    client_key: Path | None = None
    rsa_sha1: bool = True

    @classmethod
    def of(cls, values: Mapping[str, Value], notes: Notes) -> Connection:
        """Check and combine the settings.

        Raises:
            InvalidSetting: one that is needed is missing, or two contradict each other.
        """
        from imgctl_core.client.target import Target, default_audience, parse

        def text(name: str) -> str:
            return values[name].text

        def path(name: str) -> Path | None:
            return Path(text(name)) if text(name) else None

        for name in ("server", "dex_url", "client_id"):
            require(values[name])
        parse(Target(text("server"), path("ca_file")))
        if values["client_secret"].origin is Origin.FLAG:
            notes.say(
                "warning: a secret given by flag can be read by everyone on this machine; "
                "use IMGCTL_CLIENT_SECRET or --client-secret-file"
            )
        return cls(
            server=text("server"),
            dex_url=text("dex_url"),
            client_id=text("client_id"),
            client_secret=client_secret(values["client_secret"], values["client_secret_file"]),
            audience=text("audience") or default_audience(text("server")),
            audience_mode=text("audience_mode"),
            connector_id=text("connector_id"),
            pubkey_file=path("pubkey_file"),
            username=text("username"),
            ca_file=path("ca_file"),
            client_cert=path("client_cert"),
            client_key=path("client_key"),
            rsa_sha1=text("rsa_sha1") == "yes",
        )

    @property
    def target(self) -> Target:
        """The server, and what the connection to it takes."""
        from imgctl_core.client.target import Target

        return Target(
            self.server, self.ca_file, cert_file=self.client_cert, key_file=self.client_key
        )

    @property
    def login(self) -> LoginSettings:
        """What a login for this server takes."""
        from imgctl_core.client.login import LoginSettings

        return LoginSettings(
            dex_url=self.dex_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            audience=self.audience,
            audience_mode=self.audience_mode,
            connector_id=self.connector_id,
            pubkey_file=self.pubkey_file,
            username=self.username,
            ca_file=self.ca_file,
            allow_rsa_sha1=self.rsa_sha1,
        )


def require(value: Value) -> None:
    """Raise InvalidSetting unless the setting has a value."""
    if not value.text:
        setting = value.setting
        raise InvalidSetting(
            f"no {setting.name.replace('_', ' ')} is given",
            fix=f"pass {setting.flags[-1]}, set {setting.variable}, or put {setting.name} "
            "into the settings file",
        )


def client_secret(direct: Value, file: Value) -> str:
    """Return the client secret, from the stronger of the two settings that can give it.

    Raises:
        InvalidSetting: both are given in the same way, or the file holds none.
    """
    if not file.text or (direct.text and direct.origin.strength > file.origin.strength):
        return direct.text
    if direct.text and direct.origin is file.origin:
        raise InvalidSetting(
            "both a client secret and a file with one are given", fix="give one of them"
        )
    try:
        with Path(file.text).open(encoding="utf-8") as stream:
            secret = stream.read(_LONGEST_SECRET + 1).strip()
    except OSError as error:
        why = f"can't be read: {error.strerror}"
    except UnicodeDecodeError:
        why = "can't be read: it is not UTF-8"
    else:
        if 0 < len(secret) <= _LONGEST_SECRET:
            return secret
        why = "is too long to be one" if secret else "is empty"
    raise InvalidSetting(
        f"the client secret file {file.text} {why}",
        fix="name the right file with --client-secret-file or IMGCTL_CLIENT_SECRET_FILE",
    )


class Session:
    """A conversation with the server by someone who is logged in."""

    def __init__(self, connection: Connection, notes: Notes) -> None:
        """Log in, with a cached token if there is one, and open a channel.

        Raises:
            NotAuthenticated: Dex or the SSH key did not let us in.
            IssuerUnreachable: Dex could not be reached.
            InvalidSetting: a setting makes no sense.
        """
        # gRPC's core writes its own lines to stderr, unless told so before it is imported.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from imgctl_core.client.api import Client

        self._notes = notes
        self._login_settings = connection.login
        self._since = time.time()
        self._token = log_in(self._login_settings, notes, use_cache=True)
        self._client = Client(connection.target, lambda: self.token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.close()

    @property
    def token(self) -> str:
        """The token that calls are made with, a secret."""
        return self._token.value

    def ask(self, call: Callable[[Client], T]) -> T:
        """Make a call; when the server refuses a cached token, once more with a fresh one.

        A call too many was not carried out: it is made again when the server says.

        Raises:
            RateLimited: the server asks for more patience than there is.
            TokenRefused: the fresh one is refused too; the message says what our own copy
                of it tells about why, because the server never does.
        """
        try:
            return self._in_time(call)
        except TokenRefused:
            if self._fresh:
                raise self._explained() from None
        self._notes.say("the server refused the cached token: logging in afresh")
        self._since = time.time()
        self._token = log_in(self._login_settings, self._notes, use_cache=False)
        try:
            return self._in_time(call)
        except TokenRefused:
            raise self._explained() from None

    def _in_time(self, call: Callable[[Client], T]) -> T:
        patience = _PATIENCE
        while True:
            try:
                return call(self._client)
            except RateLimited as error:
                wait = max(error.wait, 0.1)
                if not error.wait or wait > patience:
                    raise
                self._notes.say(f"{error.message}: trying again in {wait:.1f} s")
            time.sleep(wait)
            patience -= wait

    def watch(self, promotion_id: str) -> Iterator[Progress | Promotion]:
        """Follow a promotion."""
        return self.stream(lambda client: client.watch(promotion_id))

    def stream(self, call: Callable[[Client], Iterator[T]]) -> Iterator[T]:
        """Make a call with many answers. The first, or the refusal, comes through `ask`."""
        return self.ask(lambda client: begun(call(client)))

    @property
    def _fresh(self) -> bool:
        # Dex stamps what it issues. With a clock that is ahead of Dex's, a fresh token
        # looks cached, and the price is one login more.
        issued = self._token.claims.get("iat")
        return isinstance(issued, int | float) and issued >= int(self._since)

    def _explained(self) -> TokenRefused:
        from imgctl_core.client.login import explain_refusal

        why, fix = explain_refusal(self._token, self._login_settings, time.time())
        return TokenRefused(f"the server refused the token: {why}", fix=fix)


def begun(stream: Iterator[T]) -> Iterator[T]:
    """Return the same stream, once its first message is there.

    Raises:
        ImgctlError: the server refused it.
    """
    return chain(list(islice(stream, 1)), stream)


def log_in(settings: LoginSettings, notes: Notes, *, use_cache: bool) -> Token:
    from imgctl_core.client.login import login

    ask = _ask_passphrase if sys.stdin.isatty() and sys.stderr.isatty() else None
    return login(settings, ask_passphrase=ask, say=notes.say, use_cache=use_cache)


def _ask_passphrase(prompt: str) -> str:
    from getpass import getpass

    try:
        return getpass(prompt)
    except (EOFError, UnicodeDecodeError):
        # Nothing, or nothing that is text on this terminal, counts as a wrong one.
        return ""
