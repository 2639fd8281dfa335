"""What one server gives to all its callers together, and to one of them at most."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imgctl_core.context import CancelToken
from imgctl_core.errors import Cancelled, DeadlineExceeded, ServerBusy
from imgctl_core.wirelimits import MAX_METADATA, MAX_REQUEST, MAX_RESPONSE

if TYPE_CHECKING:
    import grpc

#: How long one call may hold a thread of the pool, in seconds, whatever the client's own
#: deadline says. A promotion goes on without its caller.
PROMOTE_SECONDS: Final = 4 * 3600.0
PLAN_SECONDS: Final = 600.0
MANIFEST_SECONDS: Final = 600.0

#: Seconds after its time is up in which a call may still end by itself.
_GRACE: Final = 5.0

#: How long a connection may take to become one, in seconds: the handshake of TLS and the
#: preface of HTTP/2. Whoever begins and goes on too slowly is put out.
HANDSHAKE_SECONDS: Final = 10.0

#: How long a connection may go without a call, and how old it may get, in seconds. Calls
#: that run on an old one go on: no grace is set, and a watch lasts as long as it must.
IDLE_SECONDS: Final = 600.0
AGE_SECONDS: Final = 3600.0

#: Calls at once on one connection.
STREAMS: Final = 100

#: Calls that may wait for their own request, each in a thread: of strangers, who may ask
#: for health, and of those we know as many.
LOBBY: Final = 16

#: How long a call may wait for its request when there is no more room, in seconds. The two
#: arrive together, unless somebody wants otherwise.
PATIENCE: Final = 0.1

#: How long after its call a request still counts, in seconds: a token is looked at when
#: the call begins.
REQUEST_SECONDS: Final = 10.0

#: Connections held open at once, where the process may open enough files. Each is one; so
#: are the connections to registries and buckets, for which as many are left.
MAX_CONNECTIONS: Final = 4000

#: File descriptors that the process asks the system for.
MAX_FILES: Final = 2 * MAX_CONNECTIONS

#: Threads beyond those that long calls can take: health, auth checks and other short calls.
HEADROOM: Final = 8


class Seats:
    """A fixed number of places for calls that last."""

    def __init__(self, count: int, what: str) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._what = what
        self._count = count

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a seat.

        Raises:
            ServerBusy: none is free. Nobody queues for one.
        """
        if not self._free.acquire(blocking=False):
            raise ServerBusy(
                f"the server has no place free for another {self._what} ({self._count} at once)",
                fix="try again in a moment",
            )
        try:
            yield
        finally:
            self._free.release()


@contextmanager
def time_limit(
    context: grpc.ServicerContext, seconds: float, what: str, fix: str
) -> Iterator[CancelToken]:
    """Give a call a token that is set when its caller has left or its time is up.

    A caller who stays and reads nothing holds our thread where no token is looked at: that
    call is broken off a little later.

    Raises:
        DeadlineExceeded: `what` did not happen within the time; `fix` may help.
    """
    cancel, late, over = CancelToken(), threading.Event(), threading.Event()

    def stop() -> None:
        late.set()
        cancel.cancel()
        if not over.wait(_GRACE):
            context.cancel()

    if not context.add_callback(cancel.cancel):
        cancel.cancel()
    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield cancel
    except Cancelled:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
        over.set()
    if late.is_set():
        raise DeadlineExceeded(f"{what} within {seconds:.0f} s", fix=fix)


@dataclass(frozen=True)
class Capacity:
    """How many calls of each lasting kind there may be, and the threads to serve them."""

    promotes: int
    plans: int
    watches: int
    manifests: int

    @classmethod
    def for_promotions(cls, count: int) -> Capacity:
        """Return what fits `count` promotions at once.

        There are more places for callers of `Promote` than promotions, because a repeated
        request joins the running one.
        """
        return cls(promotes=count + 4, plans=count, watches=2 * count + 8, manifests=count + 4)

    @property
    def threads(self) -> int:
        lasting = self.promotes + self.plans + self.watches + self.manifests
        return lasting + 2 * LOBBY + HEADROOM


def channel_options() -> list[tuple[str, int]]:
    """Return gRPC's options for a server (names: grpc/impl/channel_arg_names.h)."""
    return [
        # Else a second process of the same user may share the port, and get our callers.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_REQUEST),
        ("grpc.max_send_message_length", MAX_RESPONSE),
        ("grpc.max_metadata_size", MAX_METADATA),
        ("grpc.absolute_max_metadata_size", MAX_METADATA),
        ("grpc.max_concurrent_streams", STREAMS),
        ("grpc.max_allowed_incoming_connections", _connections()),
        ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
        ("grpc.max_connection_idle_ms", int(IDLE_SECONDS * 1000)),
        ("grpc.max_connection_age_ms", int(AGE_SECONDS * 1000)),
        # Finds peers that vanished without a word, whose calls hold threads.
        ("grpc.keepalive_time_ms", 60 * 1000),
        ("grpc.keepalive_timeout_ms", 20 * 1000),
        ("grpc.keepalive_permit_without_calls", 0),
        # Our client pings every 30 s during a silent call; the default of 5 minutes would
        # take that for abuse and close the connection.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 20 * 1000),
    ]


def _connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


def raise_file_limit(wanted: int = MAX_FILES) -> int:
    """Let the process open that many files, as far as the system allows, and return how many.

    Systems begin with 1,024 for the sake of programs that use select(), which ours don't.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (ValueError, OSError):
        return soft
    return allowed
