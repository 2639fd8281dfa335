"""Keeps tests apart from the machine they run on: its environment and its network."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

_VARIABLES: Final = frozenset(
    {
        "DEX_URL",
        "KUBECTL_SSH_USER",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "DOCKER_CONFIG",
        "DOCKER_AUTH_CONFIG",
        "REGISTRY_AUTH_FILE",
        "SSH_AUTH_SOCK",
        "SSH_ASKPASS",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "GRPC_PROXY",
        "NO_GRPC_PROXY",
        "NO_COLOR",
        "FORCE_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "COLUMNS",
        "SLACK_WEBHOOK_URL",
    }
)
_PREFIXES: Final = ("IMGCTL_", "OIDC_", "AWS_", "XDG_")
_KEPT: Final = frozenset({"IMGCTL_REQUIRE_PEERS"})
_RESERVED: Final = (".invalid", ".test", ".example")


class OutsideConnection(RuntimeError):
    """A test tried to leave the loopback. No OSError, so that nothing takes it for one."""


def clean_environment(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Give a test an empty home and none of the machine's settings."""
    for name in [name for name in os.environ if _foreign(name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name, folder in {
        "XDG_CONFIG_HOME": ".config",
        "XDG_CACHE_HOME": ".cache",
        "XDG_STATE_HOME": ".local/state",
        "XDG_DATA_HOME": ".local/share",
    }.items():
        monkeypatch.setenv(name, str(home / folder))
    # Without credentials boto3 would ask 169.254.169.254, which is not on the loopback.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def _foreign(name: str) -> bool:
    if name in _KEPT:
        return False
    return name.upper() in _VARIABLES or name.startswith(_PREFIXES)


def guard_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Python sockets connect to the loopback and Unix sockets only.

    Names resolve for the loopback only. Names under the reserved domains `.invalid`,
    `.test` and `.example` (RFC 2606) don't resolve, as anywhere; any other name, and any
    other address, raises OutsideConnection. Sockets of C libraries are not seen.
    """
    real_connect, real_connect_ex = socket.socket.connect, socket.socket.connect_ex
    real_getaddrinfo = socket.getaddrinfo

    def connect(self: socket.socket, address: Any) -> None:
        _check(self, address)
        real_connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        _check(self, address)
        return real_connect_ex(self, address)

    def getaddrinfo(host: bytes | str | None, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not _loopback(name) and not _address(name):
            if name.rstrip(".").lower().endswith(_RESERVED):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            raise OutsideConnection(f"a test wanted to resolve {name!r}")
        return real_getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def _check(connection: socket.socket, address: Any) -> None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if not _loopback(str(address[0])):
        raise OutsideConnection(f"a test wanted to connect to {address!r}")


def _loopback(host: str) -> bool:
    if host in ("", "localhost", "0.0.0.0", "::"):
        return True
    return any(address.is_loopback for address in _address(host))


def _address(host: str) -> Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return (ipaddress.ip_address(host.partition("%")[0]),)
    except ValueError:
        return ()
