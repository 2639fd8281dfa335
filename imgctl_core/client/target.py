"""Which server is meant, and how a token may travel to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imgctl_core.errors import InvalidSetting
from imgctl_core.hosts import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\.?", re.ASCII)
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_EXAMPLE: Final = "write it as imgctl.example.com:9999"


@dataclass(frozen=True)
class Target:
    """A server as people name it.

    `address` is `host:port`, `https://host:port` or `unix:path`; `ca_file` holds the
    certificates to trust instead of the system's; `cert_file` and `key_file` hold what a
    server that asks for a client's certificate is shown; `timeout` is the seconds that a
    connection and a short call may take.
    """

    address: str
    ca_file: Path | None = None
    timeout: float = 10.0
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True)
class Endpoint:
    """A target, understood. `path` is set for a unix socket, `host` and `port` otherwise."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False

    @property
    def loopback(self) -> bool:
        return bool(self.path) or is_loopback(self.host)

    @property
    def uri(self) -> str:
        """Return the address as gRPC takes it, with nothing left to guess."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"dns:///{host}:{self.port}"


def parse(target: Target) -> Endpoint:
    """Understand a target.

    TLS is spoken except to this very machine; there too when it was asked for, by
    `https://` or a CA file. `http://` asks for the opposite and is for this machine only.

    Raises:
        InvalidSetting: it is no address, or a token would travel in clear.
    """
    address = target.address.strip()
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        if not path or "\0" in path:
            raise _bad(address, "a unix socket needs a path")
        return Endpoint(path=path)
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "", address
    elif scheme.lower() not in ("http", "https"):
        raise _bad(address, f"{scheme[:20]!a} is not https")
    host, port = _split(address, rest.removesuffix("/"), scheme.lower())
    local = is_loopback(host)
    if scheme.lower() == "http" and not local:
        raise InvalidSetting(
            f"{address[:120]!a} is not encrypted, and a token is sent there",
            fix="use https://; http is only for 127.0.0.1, ::1 and localhost",
        )
    forced = scheme.lower() == "https" or (not scheme and target.ca_file is not None)
    return Endpoint(host, port, tls=forced or not local)


def default_audience(address: str) -> str:
    """Return the audience that stands for a server: `https://` and its host, no port.

    It comes from what the user typed, never from the server, which could otherwise
    collect tokens meant for another.

    Raises:
        InvalidSetting: the address is no address.
    """
    endpoint = parse(Target(address))
    if endpoint.path:
        return "https://localhost"
    host = endpoint.host.lower().removesuffix(".")
    return f"https://[{host}]" if ":" in host else f"https://{host}"


def _split(address: str, rest: str, scheme: str) -> tuple[str, int]:
    if "@" in rest:
        raise InvalidSetting("the server address must not hold a user name", fix=_EXAMPLE)
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or not _IPV6.fullmatch(host):
            raise _bad(address, "that is no IPv6 address in brackets")
        port = port.removeprefix(":") if port.startswith(":") else port and "?"
    else:
        host, _, port = rest.partition(":")
        if ":" in port:
            raise _bad(address, "an IPv6 address goes in brackets, as in [::1]:9999")
        if not _HOST.fullmatch(host):
            raise _bad(address, f"{host[:80]!a} is no host name")
    if not port and scheme == "https":
        return host, 443
    if not port:
        raise InvalidSetting(
            f"the server address {address[:120]!a} has no port", fix=f"write it as {rest}:9999"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65535):
        raise _bad(address, f"{port[:20]!a} is no port")
    return host, int(port)


def _bad(address: str, why: str) -> InvalidSetting:
    return InvalidSetting(f"the server address {address[:120]!a} is wrong: {why}", fix=_EXAMPLE)
