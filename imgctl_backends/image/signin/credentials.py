"""Who we are to a registry, when that is not asked of AWS."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from imgctl_backends.image.endpoint import HUB, ImageEndpoint
from imgctl_core.errors import EndpointDenied, InvalidSetting

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_HELPER_SECONDS: Final = 10

#: The user name by which a helper says that the secret is an identity token.
_TOKEN_USER: Final = "<token>"  # noqa: S105

#: Under this name Docker Hub's credentials stand in the file.
_HUB_KEY: Final = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and password, or an identity token to be exchanged (OAuth 2 refresh).

    `lifetime` is the seconds for which it holds from when it was loaded, None for as
    long as nobody changes it.
    """

    username: str
    password: str = field(repr=False, default="")
    identity_token: str = field(repr=False, default="")
    lifetime: float | None = None

    @property
    def basic(self) -> str | None:
        """Return the value of an Authorization header, None for an identity token."""
        if self.identity_token:
            return None
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


class Logins(Protocol):
    """Where an endpoint's credentials come from."""

    def load(self) -> Login | None:
        """Return them as they are now; None when there are none.

        Raises:
            ImgctlError: they should be there and can't be had.
        """
        ...


class NoLogins:
    """An endpoint that we come to as nobody."""

    def load(self) -> Login | None:
        return None


class FileLogins:
    """A user name from the settings and the password from a file, read each time."""

    def __init__(self, username: str, password_file: Path) -> None:
        self._username = username
        self._file = password_file

    def load(self) -> Login | None:
        try:
            password = self._file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSetting(
                f"password_file {self._file} can't be read as text",
                fix="the server's user must be able to read it",
            ) from error
        return Login(self._username, password)


class DockerLogins:
    """The docker config file: `auths`, `credHelpers` and `credsStore`."""

    def __init__(self, endpoint: ImageEndpoint, *, required: bool) -> None:
        self._address = endpoint.address
        self._required = required

    def load(self) -> Login | None:
        path = _config_file()
        login = self._find(_read(path))
        if login is None and self._required:
            raise EndpointDenied(
                f"there are no credentials for the registry {self._address}",
                fix=f"set username and password_file of the endpoint, or log in so that {path} "
                "has them",
            )
        return login

    def _find(self, config: dict[str, Any]) -> Login | None:
        hosts = [_HUB_KEY] if self._address.host == HUB else [self._address.netloc]
        helpers = _table(config.get("credHelpers"))
        store = config.get("credsStore")
        for host in hosts:
            helper = helpers.get(host) or store
            if isinstance(helper, str) and helper:
                found = _ask_helper(helper, host)
                if found is not None:
                    return found
        for key, entry in _table(config.get("auths")).items():
            if key in hosts or _netloc(key) in hosts:
                found = _entry(_table(entry))
                if found is not None:
                    return found
        return None


def _config_file() -> Path:
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        return _table(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidSetting(
            f"the docker config file {path} can't be read as JSON",
            fix="repair or remove it, or set auth of the endpoint",
        ) from error


def _entry(entry: dict[str, Any]) -> Login | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            decoded = base64.b64decode(str(entry["auth"]), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return None
        username, _, password = decoded.partition(":")
        password = password.rstrip("\0")
    if entry.get("identitytoken"):
        return Login(username, identity_token=str(entry["identitytoken"]))
    return Login(username, password) if username and password else None


def _ask_helper(name: str, host: str) -> Login | None:
    if _HELPER.fullmatch(name) is None:
        raise InvalidSetting("the docker config file names a credential helper with a bad name")
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=host.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise EndpointDenied(
            f"the credential helper {program}, which the docker config file names for {host}, "
            "is not installed",
            fix="install it on the server, or set auth of the endpoint",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EndpointDenied(
            f"the credential helper {program} gave no answer for {host}"
        ) from error
    if done.returncode != 0:
        # The protocol has no code for "I have none": the words are fixed instead.
        if b"credentials not found" in done.stdout:
            return None
        raise EndpointDenied(f"the credential helper {program} failed for {host}")
    try:
        answer = _table(json.loads(done.stdout))
    except (ValueError, RecursionError) as error:
        raise EndpointDenied(f"the credential helper {program} sent no JSON for {host}") from error
    username, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    if not secret:
        return None
    if username == _TOKEN_USER:
        return Login("", identity_token=secret)
    return Login(username, secret)


def _netloc(key: str) -> str:
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
