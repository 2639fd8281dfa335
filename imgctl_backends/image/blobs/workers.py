"""The threads that do the work, shared by every promotion that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from imgctl_backends.image.wire.faults import Abandoned
from imgctl_backends.image.wire.flight import Flight

T = TypeVar("T")

#: How often a waiting promotion looks whether it was cancelled.
_LOOK_SECONDS: Final = 0.05

#: Work that was told to stop gets this long, then it is left alone: a thread that is
#: still connecting can't be woken.
_LEAVE_SECONDS: Final = 1.5


class Workers:
    """The lane of what is quick: it never queues behind blobs."""

    def __init__(self, requests: int) -> None:
        self._quick = ThreadPoolExecutor(requests, thread_name_prefix="imgctl-image")

    def ask(self, flight: Flight, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Run tasks that take a request or two. They must not `ask` in turn."""
        return gather(flight, [self._quick.submit(_guarded, flight, task) for task in tasks])

    def close(self) -> None:
        self._quick.shutdown(wait=False, cancel_futures=True)


def gather(flight: Flight, futures: Sequence[Future[T]]) -> list[T]:
    """Return the results in order; the first error stops the others.

    Raises:
        Cancelled, DeadlineExceeded: at most two seconds after they became true.
    """
    pending: set[Future[T]] = set(futures)
    try:
        while pending:
            done, pending = wait(pending, _LOOK_SECONDS, FIRST_EXCEPTION)
            flight.check()
            if any(future.exception() is not None for future in done):
                break
        else:
            return [future.result() for future in futures]
    finally:
        if pending:
            _stop(flight, pending)
    raise _first_error(futures)


def _guarded(flight: Flight, task: Callable[[], T]) -> T:
    flight.check()
    return task()


def _stop(flight: Flight, pending: set[Future[T]]) -> None:
    flight.cut()
    running = {future for future in pending if not future.cancel()}
    end = time.monotonic() + _LEAVE_SECONDS
    wait(running, max(0.0, end - time.monotonic()))


def _first_error(futures: Sequence[Future[T]]) -> BaseException:
    errors = [
        error
        for future in futures
        if future.done() and not future.cancelled()
        if (error := future.exception()) is not None
    ]
    return next((error for error in errors if not isinstance(error, Abandoned)), errors[0])
