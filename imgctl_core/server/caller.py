"""Who is calling, from the interceptor that found out to the method that serves them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import grpc

from imgctl_core.models import Actor
from imgctl_core.peer import Peer

#: Longest name kept that a program gives itself.
MAX_AGENT: Final = 120


@dataclass(frozen=True)
class Caller:
    """The actor, admitted, and where the call came from."""

    actor: Actor
    peer: Peer


_CALLER: ContextVar[Caller] = ContextVar("imgctl_caller")


def current() -> Caller:
    """Return the caller that is being served.

    A method must ask before it returns: in a generator's body it is too late.

    Raises:
        LookupError: nobody was authenticated, which no method may take lightly.
    """
    return _CALLER.get()


@contextmanager
def serving(caller: Caller) -> Iterator[None]:
    """Make `caller` the current one in this thread."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)


def peer_of(context: grpc.ServicerContext) -> Peer:
    """Return where a call comes from, by what gRPC knows of its connection."""
    # The stubs say bytes; gRPC gives lists of them.
    auth: Any = context.auth_context()
    agents = [value for key, value in context.invocation_metadata() if key == "user-agent"]
    return Peer(
        peer_address(context.peer()),
        # By gRPC's own word for it.
        auth.get("security_level") == [b"TSI_PRIVACY_AND_INTEGRITY"],
        b", ".join(auth.get("x509_subject", ())).decode("utf-8", "replace"),
        str(agents[0])[:MAX_AGENT] if agents else "",
    )


def peer_address(peer: str) -> str:
    """Return gRPC's peer (`ipv4:127.0.0.1:5`, `ipv6:%5B::1%5D:5`, `unix:`) as people write it."""
    scheme, _, rest = peer.partition(":")
    return unquote(rest) if scheme in ("ipv4", "ipv6") else peer.rstrip(":")


def peer_host(address: str) -> str:
    """Return the address without its port."""
    host, colon, port = address.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() else address
