"""Where the server listens, and whether it may listen there."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from imgctl_core.errors import InvalidSetting
from imgctl_core.hosts import is_loopback
from imgctl_core.server.tls import Paths, load

if TYPE_CHECKING:
    from imgctl_core.settings import ServerTable

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?", re.ASCII)
_EXAMPLE: Final = "write it as 127.0.0.1:9999, [::1]:9999 or unix:/run/imgctl.sock"


@dataclass(frozen=True)
class Binding:
    """One address to listen on, and what protects it.

    `port` 0 lets the system choose one. For a unix socket `path` is set, and host and
    port mean nothing.
    """

    host: str
    port: int = 0
    path: Path | None = None
    tls: Paths | None = None
    insecure_plaintext: bool = False

    @classmethod
    def parse(
        cls, address: str, *, tls: Paths | None = None, insecure_plaintext: bool = False
    ) -> Self:
        """Read `host:port`, `[ipv6]:port` or `unix:path`.

        Raises:
            InvalidSetting: it is none of them.
        """
        if address.startswith("unix:"):
            path = address.removeprefix("unix:").removeprefix("//")
            if not path.startswith("/"):
                raise _bad(address, "a unix socket needs an absolute path")
            return cls("", 0, Path(path), tls, insecure_plaintext)
        host, colon, port = address.rpartition(":")
        if not colon or not host:
            raise _bad(address, "it needs a host and a port")
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise _bad(address, f"{port[:20]!a} is no port")
        bracketed = host.startswith("[") and host.endswith("]")
        if ":" in host and not bracketed:
            raise _bad(address, "an IPv6 address goes in brackets")
        host = host[1:-1] if bracketed else host
        if not (_IPV6 if bracketed else _HOST).fullmatch(host):
            raise _bad(address, f"{host[:80]!a} is no host")
        return cls(host, int(port), None, tls, insecure_plaintext)

    @classmethod
    def of(cls, table: ServerTable) -> Self:
        """Read the server's settings.

        Raises:
            InvalidSetting: the address is no address.
        """
        paths = None
        if table.tls_cert is not None and table.tls_key is not None:
            paths = Paths(table.tls_cert, table.tls_key, table.tls_client_ca)
        return cls.parse(table.bind_address, tls=paths, insecure_plaintext=table.insecure_plaintext)

    @property
    def address(self) -> str:
        """Return the address as gRPC takes it."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.path is not None or is_loopback(self.host)

    def check(self) -> tuple[str, ...]:
        """Return what is worth a warning.

        Raises:
            InvalidSetting: tokens would travel in clear, or the certificate is no good.
        """
        warnings: list[str] = []
        if self.path is not None and _mode(self.path.parent) & stat.S_IWOTH:
            warnings.append(
                f"everybody may write in {self.path.parent}: when no server runs, somebody else"
                " can put a socket of theirs there"
            )
        if self.tls is not None:
            warnings += load(self.tls).warnings()
            if _mode(self.tls.key) & stat.S_IROTH:
                warnings.append(f"everybody may read the TLS key: chmod 600 {self.tls.key}")
            if self.path is not None:
                warnings.append("the TLS settings are not used on a unix socket")
            elif self.insecure_plaintext:
                warnings.append("insecure_plaintext is not used: this server speaks TLS itself")
        elif self.insecure_plaintext:
            warnings.append(
                f"insecure_plaintext: tokens come to {self.address} in clear; something in front"
                " must end TLS, and nothing else may reach this port"
            )
        elif not self.local:
            raise InvalidSetting(
                f"{self.address} can be reached from other machines, and there is no TLS",
                fix="give --tls-cert and --tls-key, bind to 127.0.0.1, or, when TLS ends in"
                " front of this server, say --insecure-plaintext",
            )
        return tuple(warnings)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _bad(address: str, why: str) -> InvalidSetting:
    return InvalidSetting(f"the bind address {address[:120]!a} is wrong: {why}", fix=_EXAMPLE)
