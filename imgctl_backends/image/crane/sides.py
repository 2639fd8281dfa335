"""What crane needs to know of an endpoint: names, credentials, trust."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from imgctl_backends.image.distribution.registry import logins_of
from imgctl_backends.image.ecr.account import EcrAccount
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.signin.credentials import Login, Logins
from imgctl_core.errors import InvalidSetting

#: Where OpenSSL keeps the system's certificates in one file, by distribution.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True)
class Side:
    """One endpoint as crane gets it. Credentials are loaded for every call anew."""

    environment: str
    endpoint: ImageEndpoint
    logins: Logins

    @property
    def host(self) -> str:
        return self.endpoint.address.netloc

    @property
    def plain(self) -> bool:
        """Whether it speaks plain HTTP where crane would not by itself."""
        address = self.endpoint.address
        return address.scheme == "http" and not address.loopback

    def repository(self, name: str) -> str:
        return f"{self.host}/{self.endpoint.address.repository(name)}"


def make_side(name: str, endpoint: ImageEndpoint, settings: ImageSettings) -> Side:
    """Return an endpoint as a side.

    Raises:
        InvalidSetting: crane can't use it, or not safely.
    """
    address = endpoint.address
    if endpoint.layout:
        raise InvalidSetting(
            f'the environment {name} is a folder of OCI image layouts, and engine = "crane" '
            "copies between registries only",
            fix="leave engine at its default",
        )
    if address.scheme == "https" and _may_fall_back(address.host):
        raise InvalidSetting(
            f"crane would fall back to plain HTTP with {address.host}, the registry of {name}, "
            "when TLS fails there",
            fix="give the registry a DNS name, or leave engine at its default",
        )
    account = EcrAccount(endpoint, settings.ecr_region) if endpoint.ecr else None
    return Side(name, endpoint, logins_of(endpoint, settings, account))


def check_pair(one: Side, other: Side) -> None:
    """Find out whether one crane process can serve both.

    Raises:
        InvalidSetting: it can't; the message says why.
    """
    if one.host == other.host and one.endpoint.identity != other.endpoint.identity:
        raise InvalidSetting(
            f"crane knows one identity for each host, and {one.environment} and "
            f"{other.environment} have two for {one.host}",
            fix="give both endpoints one identity, or leave engine at its default",
        )
    if one.plain != other.plain:
        raise InvalidSetting(
            f"crane can't speak plain HTTP to one of {one.environment} and "
            f"{other.environment} and check the other's certificate",
            fix="use TLS for both registries, or leave engine at its default",
        )


@dataclass(frozen=True)
class Home:
    """A docker config folder, the variables that belong to it, and what is secret in it."""

    folder: Path
    variables: Mapping[str, str]
    secrets: tuple[str, ...] = field(repr=False)


@contextlib.contextmanager
def private_home(sides: Sequence[Side]) -> Iterator[Home]:
    """Make a docker config that only we can read, and remove it afterwards.

    Raises:
        ImgctlError: there should be credentials, and there are none.
    """
    with tempfile.TemporaryDirectory(prefix="imgctl-crane-") as made:
        home = Path(made)  # mode 0700: tempfile sees to that
        auths, secrets = {}, []
        for side in sides:
            login = side.logins.load()
            if login is not None:
                auths[side.host] = _entry(login)
                secrets += [login.password, login.identity_token, _pair(login)]
        _write(home / "config.json", json.dumps({"auths": auths}).encode())
        more = {}
        files = [side.endpoint.ca_file for side in sides if side.endpoint.ca_file is not None]
        if files:
            _write(home / "ca.pem", _bundle(files))
            more["SSL_CERT_FILE"] = str(home / "ca.pem")
        yield Home(home, more, tuple(filter(None, secrets)))


def _entry(login: Login) -> dict[str, Any]:
    if login.identity_token:
        return {"username": login.username, "identitytoken": login.identity_token}
    return {"username": login.username, "password": login.password}


def _pair(login: Login) -> str:
    return (login.basic or "").removeprefix("Basic ")


def _bundle(files: Sequence[Path]) -> bytes:
    """Return the certificates that are trusted anyway, and those of the files."""
    paths = [os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_BUNDLES]
    usual = next((Path(path) for path in paths if path and Path(path).is_file()), None)
    parts = []
    for file in ([usual] if usual is not None else []) + list(files):
        try:
            parts.append(file.read_bytes())
        except OSError as error:
            raise InvalidSetting(f"the certificates in {file} can't be read") from error
    return b"\n".join(parts)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _may_fall_back(host: str) -> bool:
    """Whether crane takes plain HTTP for good enough there (go-containerregistry, `name`).

    Loopback hosts are among them, too; nobody listens on the way there.
    """
    if host.endswith((".local", ".localhost")):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_private and not address.is_loopback
