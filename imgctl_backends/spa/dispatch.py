"""Keeps many calls in flight on one lane: pace, retries, watchdog and cancelling."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from imgctl_backends.spa.bucket import Bucket
from imgctl_backends.spa.fastlane import Answer, Request
from imgctl_backends.spa.faults import from_sdk, unreachable
from imgctl_backends.spa.pace import Patience, Window
from imgctl_core import Context
from imgctl_core.errors import EndpointFailed

T = TypeVar("T")

_TICK: Final = 0.5
_FRESHEN_EVERY: Final = 5.0
_LEAVE_WITHIN: Final = 1.5


class Again(Exception):
    """The same call may succeed when it is made once more.

    `throttled` says that the service asked us to slow down, `at_once` that waiting
    would not help, `silent` that nothing answered at all.
    """

    def __init__(
        self, why: str, *, throttled: bool = False, at_once: bool = False, silent: bool = False
    ) -> None:
        super().__init__(why)
        self.why = why
        self.throttled = throttled
        self.at_once = at_once
        self.silent = silent


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call to make, until `read` is content with the answer.

    `read` raises Again, or an ImgctlError that ends everything. `size` is how many
    bytes S3 has to move before it can answer.
    """

    subject: str
    request: Callable[[], Request]
    read: Callable[[Answer], T]
    size: int = 0


@dataclass(slots=True)
class _Try(Generic[T]):
    call: Call[T]
    failures: int = 0
    cancel: Callable[[], None] = lambda: None
    sent: float = 0.0
    ended: bool = False


class Dispatcher(Generic[T]):
    """Makes calls on one bucket's lane. Serves one run, in one thread."""

    def __init__(
        self, bucket: Bucket, context: Context, patience: Patience, most: int = 128
    ) -> None:
        self._bucket = bucket
        self._context = context
        self._patience = patience
        self._window = Window(most)
        self._inbox: SimpleQueue[tuple[_Try[T], Answer] | None] = SimpleQueue()
        self._flying: dict[int, _Try[T]] = {}
        self._waiting: list[tuple[float, int, _Try[T]]] = []
        self._order = itertools.count()
        self._answered = self._freshened = time.monotonic()

    def run(self, calls: Iterable[Call[T]]) -> Iterator[tuple[Call[T], T]]:
        """Make all the calls; yield each with what its `read` returned, as they end.

        Raises:
            ImgctlError: of the first call that failed for good; the others are
                cancelled. Also Cancelled and DeadlineExceeded, within two seconds.
        """
        forget = self._context.cancel.on_cancel(lambda: self._inbox.put(None))
        fresh = iter(calls)
        more = True
        try:
            self._freshen()
            while True:
                self._context.check()
                more = self._fill(fresh, more)
                if not more and not self._flying and not self._waiting:
                    return
                for finished, answer in self._arrivals():
                    result = self._judge(finished, answer)
                    if result is not None:
                        yield result
                self._watch()
        finally:
            forget()
            self._leave()

    def _fill(self, fresh: Iterator[Call[T]], more: bool) -> bool:
        now = time.monotonic()
        while len(self._flying) < self._window.size:
            if self._waiting and self._waiting[0][0] <= now:
                self._send(heapq.heappop(self._waiting)[2], now)
                continue
            call = next(fresh, None) if more else None
            if call is None:
                return False
            self._send(_Try(call), now)
        return more

    def _send(self, attempt: _Try[T], now: float) -> None:
        attempt.sent = now
        attempt.ended = False
        self._flying[id(attempt)] = attempt
        attempt.cancel = self._bucket.lane.send(
            attempt.call.request(), lambda answer: self._inbox.put((attempt, answer))
        )

    def _arrivals(self) -> Iterator[tuple[_Try[T], Answer]]:
        """Wait for an answer, the next retry or the next tick; yield what has come."""
        until = _TICK
        if self._waiting:
            until = min(until, max(0.0, self._waiting[0][0] - time.monotonic()))
        timeout: float | None = until
        while True:
            try:
                arrived = self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()
            except Empty:
                return
            timeout = None
            if arrived is None:
                return
            attempt, answer = arrived
            del self._flying[id(attempt)]
            yield attempt, answer

    def _judge(self, attempt: _Try[T], answer: Answer) -> tuple[Call[T], T] | None:
        now = time.monotonic()
        if answer.status is not None:
            self._answered = now
        try:
            result = attempt.call.read(answer)
        except Again as again:
            self._retry(attempt, again, now)
            return None
        self._window.grow()
        return attempt.call, result

    def _retry(self, attempt: _Try[T], again: Again, now: float) -> None:
        if again.throttled:
            self._answered = now
            self._window.shrink(now)
        attempt.failures += 1
        patience, place = self._patience, self._bucket.place
        if again.silent and now - self._answered > patience.dead:
            raise unreachable(place, again.why)
        allowed = patience.throttled if again.throttled else patience.attempts
        if attempt.failures >= allowed:
            if again.silent:
                raise unreachable(place, again.why)
            raise EndpointFailed(
                f"{place} failed {attempt.failures} times in a row at "
                f"{attempt.call.subject}: {again.why}",
                fix="run the same command again later: what is there is not copied twice",
            )
        due = now if again.at_once else now + patience.delay(attempt.failures)
        heapq.heappush(self._waiting, (due, next(self._order), attempt))

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._freshened > _FRESHEN_EVERY:
            self._freshen()
        for attempt in self._flying.values():
            limit = self._patience.limit(attempt.call.size)
            if not attempt.ended and now - attempt.sent > limit:
                attempt.ended = True
                attempt.cancel()  # arrives as an answer without a status

    def _freshen(self) -> None:
        self._freshened = time.monotonic()
        try:
            self._bucket.lane.freshen()
        except (BotoCoreError, ClientError) as error:
            raise from_sdk(error, self._bucket.place, "renewing the credentials") from error

    def _leave(self) -> None:
        """Cancel what is in flight, and wait a little for it to end."""
        for attempt in self._flying.values():
            attempt.cancel()
        until = time.monotonic() + _LEAVE_WITHIN
        while self._flying and (left := until - time.monotonic()) > 0:
            try:
                arrived = self._inbox.get(timeout=left)
            except Empty:
                return
            if arrived is not None:
                self._flying.pop(id(arrived[0]), None)
