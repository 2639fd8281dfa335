"""Taking an address: a port, or a unix socket that nobody but us may open."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import grpc

from imgctl_core.errors import InvalidSetting
from imgctl_core.server.binding import Binding
from imgctl_core.server.tls import RenewingCertificate

#: How often a port of the system's choice is asked for, when it is taken elsewhere.
_TRIES: Final = 10

#: What the system takes for a socket's path, in bytes (unix(7), without the final zero).
_LONGEST_PATH: Final = 107

_LOCALHOST: Final = ((int(socket.AF_INET), "127.0.0.1"), (int(socket.AF_INET6), "::1"))


def bind(server: grpc.Server, binding: Binding) -> Binding:
    """Bind a server's one address, and return it with the port that was chosen.

    Raises:
        InvalidSetting: it can't be bound, whole.
    """
    if binding.path is not None:
        with _private_socket(binding.path):
            _add(server, binding, grpc.local_server_credentials(grpc.LocalConnectionType.UDS))
        return binding
    names = _addresses(binding.host)
    binding = replace(binding, port=_free_port(binding, names))
    # One by one: of a name with two addresses gRPC is content to get one, and whoever
    # connects would then reach us or somebody else, as their system likes it.
    each = [replace(binding, host=host) for _, host in names] or [binding]
    # Renewing credentials are good for one port; and what may be bound in clear was decided
    # by the name, whatever it leads to.
    ports = [_add(server, one, _credentials(binding)) for one in each]
    return replace(binding, port=ports[0])


def _credentials(binding: Binding) -> grpc.ServerCredentials | None:
    if binding.tls is not None:
        return RenewingCertificate(binding.tls).credentials()
    if binding.local:
        # Speaks plain HTTP/2 and turns away connections that are not local.
        return grpc.local_server_credentials(grpc.LocalConnectionType.LOCAL_TCP)
    return None


def _add(server: grpc.Server, binding: Binding, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(binding.address)
        return server.add_secure_port(binding.address, credentials)
    except RuntimeError:
        raise _taken(binding) from None


def _free_port(binding: Binding, names: Sequence[tuple[int, str]]) -> int:
    """Return a port that is free at every address of a host name.

    Raises:
        InvalidSetting: the port is taken at one of them.
    """
    for _ in range(_TRIES):
        port = binding.port
        with ExitStack() as held:
            try:
                for family, host in names:
                    port = held.enter_context(_held(family, host, port)).getsockname()[1]
            except OSError as error:
                if error.errno != errno.EADDRINUSE or binding.port:
                    raise _taken(binding) from None
                continue
        return port
    raise _taken(binding)


def _held(family: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family)
    try:
        # As gRPC does: what is left of closed connections is in nobody's way.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        # A port that others only listen on is taken when we listen, not when we bind.
        sock.listen(1)
    except BaseException:
        sock.close()
        raise
    return sock


def _addresses(host: str) -> list[tuple[int, str]]:
    """Return the addresses of a name that are this machine's; of an address nothing."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return []
    # Both, whatever the system's own list says: clients ask for both (RFC 6761).
    named = dict.fromkeys(_LOCALHOST if host.lower() == "localhost" else ())
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        named |= dict.fromkeys((int(family), str(address[0])) for family, *_, address in found)
    return [(family, address) for family, address in named if _is_ours(family, address)]


def _is_ours(family: int, address: str) -> bool:
    # A name may have an IPv6 address where the system speaks none.
    try:
        _held(family, address, 0).close()
    except OSError:
        return False
    return True


def _taken(binding: Binding) -> InvalidSetting:
    return InvalidSetting(
        f"the bind address {binding.address} can't be bound: it is in use, or not this"
        " machine's, or not ours to use",
        fix="stop what listens there, or choose another --bind-address",
    )


@contextmanager
def _private_socket(path: Path) -> Iterator[None]:
    """Let a socket be made at `path` that nobody but us may open.

    gRPC takes a socket away from whoever listens on it, so that is asked first; and the
    mode must be right from the beginning, which only the umask can do.

    Raises:
        InvalidSetting: no socket can be made there.
    """
    _check_place(path)
    if path.exists():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                pass
            else:
                raise InvalidSetting(
                    f"another server listens on {path}", fix="stop it, or choose another path"
                )
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def _check_place(path: Path) -> None:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise InvalidSetting(
            f"the socket's path {path} is longer than {_LONGEST_PATH} bytes",
            fix="choose a shorter one",
        )
    if not path.parent.is_dir():
        raise InvalidSetting(f"the socket's folder {path.parent} does not exist", fix="make it")
    if (path.exists() or path.is_symlink()) and not path.is_socket():
        raise InvalidSetting(
            f"{path} is there already, and no socket", fix="remove it, or choose another path"
        )
