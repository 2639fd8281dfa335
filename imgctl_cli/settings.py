"""The client's settings, and where each value came from.

Highest first: flag, environment variable, settings file, baked-in default, built-in. The
resolving is click's own; this module gives it the table below and the file. An empty
variable, or an empty string in the file, is an unset one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from imgctl_core.errors import InvalidSetting

F = TypeVar("F", bound=Callable[..., Any])

_META = f"{__name__}.file"


@dataclass(frozen=True, slots=True)
class ClientSetting:
    """One setting: its flags, its variable, and (as `name`) its key in the file."""

    name: str
    flags: tuple[str, ...]
    variable: str
    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    path: bool = False
    secret: bool = False
    #: Its flags are two, for `yes` and for `no`, and take no value.
    switch: bool = False


SETTINGS: Final = (
    ClientSetting(
        "server",
        ("-s", "--server"),
        "IMGCTL_SERVER",
        "The imgctl server: host:port, https://host:port or unix:path.",
        default="localhost:9999",
    ),
    ClientSetting(
        "source",
        ("--source",),
        "IMGCTL_DEFAULT_SOURCE",
        "The environment to promote from; without it, the server's default.",
    ),
    ClientSetting(
        "destination",
        ("-d", "--destination"),
        "IMGCTL_DEFAULT_DESTINATION",
        "The environment to promote to, or to go live in.",
    ),
    ClientSetting("dex_url", ("--dex-url",), "DEX_URL", "Dex, the OpenID provider to log in at."),
    ClientSetting("client_id", ("--client-id",), "IMGCTL_CLIENT_ID", "imgctl's client id at Dex."),
    ClientSetting(
        "client_secret",
        ("--client-secret",),
        "IMGCTL_CLIENT_SECRET",
        "The client secret; better given by variable or file than by flag.",
        secret=True,
    ),
    ClientSetting(
        "client_secret_file",
        ("--client-secret-file",),
        "IMGCTL_CLIENT_SECRET_FILE",
        "A file that holds the client secret.",
        path=True,
    ),
    ClientSetting(
        "pubkey_file",
        ("-f", "--pubkey-file"),
        "IMGCTL_PUBKEY_FILE",
        "The SSH public key to log in with; by default ~/.ssh/id_ed25519.pub when it "
        "exists, else the agent's keys, else ~/.ssh/id_ecdsa.pub and id_rsa.pub.",
        path=True,
    ),
    ClientSetting(
        "username",
        ("-u", "--username"),
        "KUBECTL_SSH_USER",
        "The user name to log in as; by default the one you are logged in with here.",
    ),
    ClientSetting(
        "audience",
        ("--audience",),
        "IMGCTL_AUDIENCE",
        "Whom the token is for; by default https:// and the server's host name.",
    ),
    ClientSetting(
        "audience_mode",
        ("--audience-mode",),
        "IMGCTL_AUDIENCE_MODE",
        "How Dex is asked for the audience.",
        default="audience",
        choices=("audience", "cross-client", "client-id"),
    ),
    ClientSetting(
        "connector_id",
        ("--connector-id",),
        "IMGCTL_CONNECTOR_ID",
        "The id of Dex's SSH connector.",
        default="ssh",
    ),
    ClientSetting(
        "rsa_sha1",
        ("--rsa-sha1", "--no-rsa-sha1"),
        "IMGCTL_RSA_SHA1",
        "Whether RSA keys may log in: Dex takes their signatures with SHA-1 only.",
        default="yes",
        choices=("yes", "no"),
        switch=True,
    ),
    ClientSetting(
        "ca_file",
        ("--ca-file",),
        "IMGCTL_CA_FILE",
        "A file of certificates to trust for the server and Dex.",
        path=True,
    ),
    ClientSetting(
        "client_cert",
        ("--client-cert",),
        "IMGCTL_CLIENT_CERT",
        "A certificate of your own, for a server that asks clients for one.",
        path=True,
    ),
    ClientSetting(
        "client_key",
        ("--client-key",),
        "IMGCTL_CLIENT_KEY",
        "The key of that certificate, without a passphrase.",
        path=True,
    ),
)

_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


class Origin(str, Enum):
    """Where a value came from, the strongest first."""

    FLAG = "flag"
    VARIABLE = "environment"
    FILE = "file"
    BAKED = "baked"
    BUILT_IN = "built-in"

    @property
    def strength(self) -> int:
        return len(Origin) - list(Origin).index(self)


@dataclass(frozen=True, slots=True)
class Value:
    """A setting's value. `where` names the flag, variable or file, if it is one."""

    setting: ClientSetting
    text: str = field(repr=False)
    origin: Origin
    where: str = ""

    @property
    def shown(self) -> str:
        """The value, fit for other people's eyes."""
        return "********" if self.setting.secret and self.text else self.text


@dataclass(frozen=True, slots=True)
class ClientFile:
    """The settings file: where it is, or would be, and what it says."""

    path: Path
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    found: bool = False


class ClientCommand(click.Command):
    """A command that takes client settings."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Help must come even when the file is broken, and reads the same with any file.
        asked_for_help = not set(args).isdisjoint(ctx.help_option_names)
        file = ClientFile(client_file_path()) if asked_for_help else read_client_file()
        ctx.meta[_META] = file
        ctx.default_map = {**baked(), **file.values}
        return super().parse_args(ctx, args)


def setting_options(*names: str) -> Callable[[F], F]:
    """Return a decorator that gives a command the named settings' flags, in that order."""

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = _option(_BY_NAME[name])(function)
        return function

    return decorate


def _option(setting: ClientSetting) -> Callable[[F], F]:
    if setting.switch:
        return click.option(
            "/".join(setting.flags),
            setting.name,
            envvar=setting.variable,
            show_envvar=True,
            default=setting.default == "yes",
            show_default=True,
            callback=_as_word,
            help=setting.help,
        )
    return click.option(
        *setting.flags,
        setting.name,
        envvar=setting.variable,
        show_envvar=True,
        default=setting.default or None,
        show_default=bool(setting.default),
        type=click.Choice(setting.choices) if setting.choices else str,
        metavar="FILE" if setting.path else None,
        help=setting.help,
    )


def _as_word(_ctx: click.Context, _param: click.Parameter, on: bool) -> str:
    return "yes" if on else "no"


def values(ctx: click.Context) -> dict[str, Value]:
    """Return the settings of this command by name, as they hold now."""
    return {
        setting.name: _value(ctx, setting) for setting in SETTINGS if setting.name in ctx.params
    }


def client_file(ctx: click.Context) -> ClientFile:
    """Return the settings file that this command has read."""
    file: ClientFile = ctx.meta[_META]
    return file


def _value(ctx: click.Context, setting: ClientSetting) -> Value:
    origin, where = _origin(ctx, setting)
    text = ctx.params[setting.name] or ""
    if setting.path and text:
        text = os.path.expanduser(text)  # noqa: PTH111 - pathlib's fails without a home
    return Value(setting, text, origin, where)


def _origin(ctx: click.Context, setting: ClientSetting) -> tuple[Origin, str]:
    source = ctx.get_parameter_source(setting.name)
    if source is ParameterSource.COMMANDLINE:
        on = setting.switch and ctx.params[setting.name] == "yes"
        return Origin.FLAG, setting.flags[0 if on else -1]
    if source is ParameterSource.ENVIRONMENT:
        return Origin.VARIABLE, setting.variable
    file = client_file(ctx)
    if setting.name in file.values:
        return Origin.FILE, str(file.path)
    return (Origin.BAKED if setting.name in baked() else Origin.BUILT_IN), ""


def baked() -> dict[str, str]:
    """Return the defaults that were written into the wheel when it was built, if any."""
    try:
        module = import_module("imgctl_cli._baked")
    except ModuleNotFoundError:
        return {}
    return {name: text for name, text in module.DEFAULTS.items() if text}


def client_file_path() -> Path:
    """Return `$XDG_CONFIG_HOME/imgctl/config.toml`; one below `~` for a user without a home.

    A relative `XDG_CONFIG_HOME` counts as unset, as the XDG base directory spec says.
    """
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = os.path.expanduser("~/.config")  # noqa: PTH111 - pathlib's fails without a home
    return Path(base) / "imgctl" / "config.toml"


def read_client_file() -> ClientFile:
    """Read the settings file, if there is one.

    Raises:
        InvalidSetting: it can't be read, is no TOML, or has a key or value we don't know.
    """
    path = client_file_path()
    if not path.is_absolute():
        # Whatever is called `~` in the folder where we happen to be is nobody's home.
        return ClientFile(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ClientFile(path)
    except OSError as error:
        raise InvalidSetting(
            f"the settings file {path} can't be read: {error.strerror}",
            fix="mend its permissions, or move it away",
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidSetting(
            f"the settings file {path} is not UTF-8", fix="save it as UTF-8"
        ) from error
    return ClientFile(path, _parse(path, text), found=True)


def _parse(path: Path, text: str) -> dict[str, str]:
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSetting(
            f"the settings file {path} is not TOML: {error}", fix="mend that line"
        ) from error
    return {key: value for key in table if (value := _checked(path, key, table[key]))}


def _checked(path: Path, key: str, value: object) -> str:
    setting = _BY_NAME.get(key)
    if setting is None:
        raise InvalidSetting(f"the settings file {path} has an unknown key {key!r}", fix=_near(key))
    if not isinstance(value, str):
        raise InvalidSetting(
            f"{key} in the settings file {path} is not a text", fix='write it as key = "value"'
        )
    if "\0" in value:
        raise InvalidSetting(
            f"{key} in the settings file {path} has a null character in it", fix="mend that line"
        )
    if setting.choices and value and value not in setting.choices:
        raise InvalidSetting(
            f"{key} in the settings file {path} is {value!r}, which is none of its values",
            fix="use one of " + ", ".join(setting.choices),
        )
    if setting.path and value:
        # A relative path in a file can only mean: seen from that file.
        return str(path.parent / os.path.expanduser(value))  # noqa: PTH111 - as above
    return value


def _near(key: str) -> str:
    from difflib import get_close_matches

    known = [setting.name for setting in SETTINGS]
    near = get_close_matches(key.lower().replace("-", "_"), known, n=1)
    return f"did you mean {near[0]}?" if near else "the keys are " + ", ".join(known)
