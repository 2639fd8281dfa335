"""The gRPC server: one port, its methods, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc

from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.server.arrival import ArrivalInterceptor
from imgctl_core.server.binding import Binding
from imgctl_core.server.health import Health
from imgctl_core.server.interceptors import OPEN_METHOD, AuthInterceptor, ErrorInterceptor
from imgctl_core.server.limits import Capacity, channel_options
from imgctl_core.server.listening import bind
from imgctl_core.server.ports import Admission, Audit, Catalogue, Engine, Verifier
from imgctl_core.server.rates import Rates
from imgctl_core.server.records import Records
from imgctl_core.server.servicer import Servicer

#: How long calls that are being served get to finish, in seconds, once nothing is promoted.
GRACE = 5.0


class Server:
    """A bound server. `start` it, and `stop` or `drain` it, or use it in a `with`."""

    def __init__(
        self,
        server: grpc.Server,
        pool: ThreadPoolExecutor,
        binding: Binding,
        engine: Engine,
        health: Health,
    ) -> None:
        self._server = server
        self._pool = pool
        self._engine = engine
        self._health = health
        #: What it listens on, with the port that was chosen.
        self.binding = binding

    @property
    def address(self) -> str:
        """Return what a client connects to: `host:port` or `unix:path`."""
        return self.binding.address

    @property
    def port(self) -> int:
        """Return the port, 0 for a unix socket."""
        return self.binding.port

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    def stop(self, grace: float = GRACE) -> None:
        """Take no new calls, give the running ones `grace` seconds, and wait for the end.

        Promotions are the engine's, and go on.
        """
        self._health.drain()
        self._server.stop(grace).wait()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self.binding.path is not None:
            self.binding.path.unlink(missing_ok=True)

    def drain(self, seconds: float, grace: float = GRACE) -> None:
        """Let promotions end, then stop.

        From now on health says NOT_SERVING and no promotion is taken; those that run may
        be watched and cancelled as before. After `seconds` they are cancelled.
        """
        self._health.drain()
        self._engine.drain(seconds)
        self.stop(grace)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(0.0)


def create_server(
    binding: Binding,
    engine: Engine,
    catalogue: Catalogue,
    verifier: Verifier,
    policy: Admission,
    *,
    audit: Audit,
    rates: Rates | None = None,
    ready: Callable[[], bool] = lambda: True,
    max_promotions: int = 8,
    version: str = "",
) -> Server:
    """Bind the address and return the server, not started.

    Args:
        binding: where to listen.
        engine: does the promoting.
        catalogue: says what there is.
        verifier: says whose token it is.
        policy: says who may come in.
        audit: writes a record to the audit log.
        rates: how often a peer and an actor may call; by default without a limit.
        ready: whether tokens can be checked; health says SERVING only then.
        max_promotions: how many promotions run at once, which sets the number of threads.
        version: the server's own version, told to whoever asks who they are.

    Raises:
        InvalidSetting: the address can't be bound or may not be bound without TLS, or the
            certificate is no good.
    """
    binding.check()
    capacity = Capacity.for_promotions(max_promotions)
    records = Records(audit)
    health = Health(ready)
    pool = ThreadPoolExecutor(capacity.threads, thread_name_prefix="imgctl-rpc")
    server = grpc.server(
        pool,
        interceptors=[
            ErrorInterceptor(),
            AuthInterceptor(
                verifier,
                policy,
                records,
                rates=rates,
                insecure_plaintext=binding.insecure_plaintext,
            ),
            ArrivalInterceptor(OPEN_METHOD),
        ],
        options=channel_options(),
        # A few may wait for a thread; past that the answer is RESOURCE_EXHAUSTED at once.
        maximum_concurrent_rpcs=capacity.threads + 64,
    )
    imgctl_pb2_grpc.add_ImgCtlServicer_to_server(
        Servicer(engine, catalogue, records, capacity, version=version), server
    )
    server.add_generic_rpc_handlers((health.handler(),))
    try:
        bound = bind(server, binding)
    except BaseException:
        server.stop(None)
        pool.shutdown(wait=False)
        raise
    return Server(server, pool, bound, engine, health)
