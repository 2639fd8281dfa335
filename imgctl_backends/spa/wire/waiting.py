"""Runs blocking calls in threads, so that a cancelled promotion need not wait for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Final, TypeVar

from imgctl_core import Context

S = TypeVar("S")
T = TypeVar("T")

_TICK: Final = 0.2


@contextmanager
def pool(size: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool that is left without waiting for calls that still run.

    They end by their own timeouts, and what they return is dropped.
    """
    executor = ThreadPoolExecutor(size, thread_name_prefix=f"imgctl-spa-{name}")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def settle(
    futures: Iterable[Future[T]], context: Context, until: float | None = None
) -> Iterator[Future[T]]:
    """Yield futures as they are done; stop at `until`, a `time.monotonic()` value.

    Raises:
        Cancelled: within a fraction of a second, whatever the calls are waiting for.
        DeadlineExceeded: in the same way.
    """
    open_ = set(futures)
    woken: Future[T] = Future()
    lock = threading.Lock()

    def wake() -> None:
        with lock:
            if not woken.done():
                woken.set_exception(RuntimeError("cancelled"))

    forget = context.cancel.on_cancel(wake)
    try:
        while open_ and (until is None or time.monotonic() < until):
            context.check()
            done, _ = wait({*open_, woken}, _TICK, FIRST_COMPLETED)
            context.check()
            yield from done - {woken}
            open_ -= done
    finally:
        forget()


def both(
    context: Context,
    first: Callable[[], S],
    second: Callable[[], T],
    name: str,
    *,
    within: float | None = None,
    late: Callable[[bool], Exception] | None = None,
) -> tuple[S, T]:
    """Return what two calls return, made at the same time; the first one's error wins.

    After `within` seconds, what `late` makes is raised instead; it is told whether the
    first call is among those that are not done.
    """
    until = None if within is None else time.monotonic() + within
    with pool(2, name) as executor:
        one, two = executor.submit(first), executor.submit(second)
        pending: set[Future[object]] = {_untyped(one), _untyped(two)}
        for done in settle(pending, context, until):
            pending.discard(done)
            if done.exception() is not None and done is one:
                break
        if late and not (one.done() and (two.done() or one.exception())):
            raise late(not one.done())
        return one.result(), two.result()


def _untyped(future: Future[T]) -> Future[object]:
    return future  # type: ignore[return-value]
