"""Reading a call's one request, which whoever calls may be slow to send, or never send.

gRPC itself reads it before the method begins: in a thread of the pool, for as long as it
takes, whoever calls. A stranger with one connection could so hold all threads. Here it is
read when it is known who calls, and no more than a few may keep us waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from imgctl_core.errors import Cancelled, DeadlineExceeded, RequestError
from imgctl_core.server.handlers import Continuation, Handler, behavior_of, reading
from imgctl_core.server.limits import LOBBY, PATIENCE, REQUEST_SECONDS


class Lobby:
    """Where calls wait for their request, each in a thread of the pool.

    Whoever is in it may stay as long as there is room. When there are too many, those that
    have waited longest are broken off.
    """

    def __init__(self, room: int = LOBBY, clock: Callable[[], float] = time.monotonic) -> None:
        self._room = room
        self._clock = clock
        self._lock = threading.Lock()
        #: When each came, the first ones first.
        self._waiting: dict[object, tuple[float, grpc.ServicerContext]] = {}
        self._watched = False

    def receive(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Return the call's request.

        Raises:
            RequestError: the call came without one.
            Cancelled: its caller left, or had to leave.
            DeadlineExceeded: it took so long that we no longer know who calls.
        """
        place, since = object(), self._clock()
        self._enter(place, since, context)
        try:
            request = next(requests)
        except StopIteration:
            raise RequestError("the call came without its request") from None
        except grpc.RpcError:
            raise Cancelled("the call ended before its request had come") from None
        finally:
            with self._lock:
                self._waiting.pop(place, None)
        if self._clock() - since > REQUEST_SECONDS:
            raise DeadlineExceeded(
                f"the request did not come within {REQUEST_SECONDS:.0f} s of its call",
                fix="try again",
            )
        return request

    def _enter(self, place: object, now: float, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._waiting[place] = (now, context)
            self._look_soon()

    def _look_soon(self) -> None:
        if len(self._waiting) > self._room and not self._watched:
            self._watched = True
            timer = threading.Timer(PATIENCE, self._make_room)
            timer.daemon = True
            timer.start()

    def _make_room(self) -> None:
        with self._lock:
            long_here = self._clock() - PATIENCE
            over = list(self._waiting)[: max(0, len(self._waiting) - self._room)]
            slow = [place for place in over if self._waiting[place][0] <= long_here]
            contexts = [self._waiting.pop(place)[1] for place in slow]
            self._watched = False
            self._look_soon()
        for context in contexts:
            context.cancel()


class ArrivalInterceptor(grpc.ServerInterceptor):
    """Innermost: begins a method when its request is there, and not before.

    Strangers, who may call `open_method` and nothing else, have a lobby of their own.
    """

    def __init__(self, open_method: str) -> None:
        self._open_method = open_method
        self._strangers = Lobby()
        self._known = Lobby()

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        unknown = handler_call_details.method == self._open_method
        lobby = self._strangers if unknown else self._known
        behavior, read = behavior_of(handler), handler.request_deserializer

        def arrived(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            message = lobby.receive(requests, context)
            try:
                request = read(message) if read is not None else message
            except Exception:  # noqa: BLE001 - whatever protobuf makes of rubbish
                raise RequestError("the request is no message of this method") from None
            return behavior(request, context)

        return reading(handler, arrived)
