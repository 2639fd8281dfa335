"""Keeps many calls in flight on one lane: pace, retries, watchdog and cancelling."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.fastlane import Answer, Request
from imgctl_backends.spa.wire.faults import all_of, unreachable
from imgctl_backends.spa.wire.pace import Pace, Patience
from imgctl_core import Context
from imgctl_core.errors import EndpointDenied, EndpointFailed, ImgctlError

T = TypeVar("T")

_TICK: Final = 0.5
_FRESHEN_EVERY: Final = 5.0
_LEAVE_WITHIN: Final = 1.5
#: With so many calls in flight answers are waited for a little, and taken and followed by
#: new calls in one go: each waking of our thread and of the client's costs as much as a
#: call (a fifth of the CPU of 2,000 copies, docs/benchmarks.md).
_MANY: Final = 48
_GATHER: Final = 0.004
#: So many failures are no accident of single files: the rest is not tried any more.
MOST_FAILURES: Final = 20


class Again(Exception):
    """The same call may succeed when it is made once more.

    `throttled` says that the service asked us to slow down, `at_once` that waiting
    would not help, `silent` that nothing answered at all. `expired` is what to raise
    unless there are other credentials to be had.
    """

    def __init__(
        self,
        why: str,
        *,
        throttled: bool = False,
        at_once: bool = False,
        silent: bool = False,
        expired: ImgctlError | None = None,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.throttled = throttled
        self.at_once = at_once
        self.silent = silent
        self.expired = expired


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call to make, until `read` is content with the answer.

    `read` raises Again, or an ImgctlError that no retry would change. `size` is how many
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
    last_chance: bool = False
    cancel: Callable[[], None] = lambda: None
    sent: float = 0.0
    ended: bool = False

    def forget(self) -> None:
        """Let go of the client's request, which holds on to us.

        Through C, so that the garbage collector never finds the circle (12 KB a call).
        """
        self.cancel = lambda: None


@dataclass(slots=True)
class _Run(Generic[T]):
    """What one run has in hand: calls in flight, calls that wait, and what came of others."""

    inbox: SimpleQueue[tuple[_Try[T], Answer] | None] = field(default_factory=SimpleQueue)
    flying: dict[int, _Try[T]] = field(default_factory=dict)
    waiting: list[tuple[float, int, _Try[T]]] = field(default_factory=list)
    put_aside: list[_Try[T]] = field(default_factory=list)
    failures: list[tuple[str, ImgctlError]] = field(default_factory=list)


class Dispatcher(Generic[T]):
    """Makes calls on one bucket's lane. Serves one run, in one thread.

    `what` says in errors what the calls are about.
    """

    def __init__(
        self,
        bucket: Bucket,
        context: Context,
        patience: Patience,
        pace: Pace | None = None,
        what: str = "files",
    ) -> None:
        self._bucket = bucket
        self._context = context
        self._patience = patience
        self._pace = pace or Pace(128, 5000)
        self._what = what
        self._run: _Run[T] = _Run()
        self._order = itertools.count()
        self._blocked = 0.0
        self._answered = self._freshened = self._watched = time.monotonic()

    def run(self, calls: Iterable[Call[T]]) -> Iterator[tuple[Call[T], T]]:
        """Make all the calls; yield each with what its `read` returned, as they end.

        A call that fails keeps no other from being made; those that may yet succeed are
        tried once more at the end.

        Raises:
            ImgctlError: at the end, for all that failed for good; at once when nothing
                answers any more, or when twenty have failed. Also Cancelled and
                DeadlineExceeded, within two seconds.
        """
        run = self._run
        forget = self._context.cancel.on_cancel(lambda: run.inbox.put(None))
        fresh = iter(calls)
        more = True
        try:
            self._freshen()
            while True:
                self._context.check()
                more = self._fill(fresh, more)
                if not more and not run.flying and not run.waiting and not self._last_chances():
                    break
                for finished, answer in self._arrivals():
                    result = self._judge(finished, answer)
                    if result is not None:
                        yield result
                self._watch()
            if run.failures:
                raise all_of(run.failures, self._what)
        finally:
            forget()
            self._leave()

    def _fill(self, fresh: Iterator[Call[T]], more: bool) -> bool:
        run, now = self._run, time.monotonic()
        self._blocked = 0.0
        while len(run.flying) < self._pace.window:
            due = bool(run.waiting) and run.waiting[0][0] <= now
            if not due and not more:
                return False
            self._blocked = self._pace.begin(now)
            if self._blocked:
                return more
            if due:
                self._send(heapq.heappop(run.waiting)[2], now)
                continue
            call = next(fresh, None)
            if call is None:
                return False
            self._send(_Try(call), now)
        return more

    def _send(self, attempt: _Try[T], now: float) -> None:
        attempt.sent = now
        attempt.ended = False
        self._run.flying[id(attempt)] = attempt
        inbox = self._run.inbox
        attempt.cancel = self._bucket.lane.send(
            attempt.call.request(), lambda answer: inbox.put((attempt, answer))
        )

    def _arrivals(self) -> Iterator[tuple[_Try[T], Answer]]:
        """Wait for an answer, the next call that is due or the next tick; yield what came."""
        run, until = self._run, self._blocked or _TICK
        if run.waiting:
            until = min(until, max(0.0, run.waiting[0][0] - time.monotonic()))
        timeout: float | None = until
        while True:
            try:
                arrived = run.inbox.get(timeout=timeout) if timeout else run.inbox.get_nowait()
            except Empty:
                return
            if timeout and len(run.flying) >= _MANY:
                time.sleep(_GATHER)
            timeout = None
            if arrived is None:
                return
            attempt, answer = arrived
            del run.flying[id(attempt)]
            attempt.forget()
            yield attempt, answer

    def _judge(self, attempt: _Try[T], answer: Answer) -> tuple[Call[T], T] | None:
        now = time.monotonic()
        if answer.status is not None:
            self._answered = now
        try:
            result = attempt.call.read(answer)
        except Again as again:
            if again.expired and not self._renewed(attempt):
                self._failed(attempt, again.expired)
            else:
                self._retry(attempt, again, now)
            return None
        except (EndpointDenied, EndpointFailed) as error:
            self._failed(attempt, error)
            return None
        self._pace.succeeded()
        return attempt.call, result

    def _retry(self, attempt: _Try[T], again: Again, now: float) -> None:
        if again.throttled:
            self._answered = now
            self._pace.throttled(now)
        attempt.failures += 1
        patience, place = self._patience, self._bucket.place
        if again.silent and now - self._answered > patience.dead:
            raise unreachable(place, again.why)
        allowed = patience.throttled if again.throttled else patience.attempts
        if attempt.failures < allowed + attempt.last_chance * (allowed // 2):
            due = now if again.at_once else now + patience.delay(attempt.failures)
            heapq.heappush(self._run.waiting, (due, next(self._order), attempt))
        elif not attempt.last_chance:
            self._run.put_aside.append(attempt)
        elif again.silent:
            raise unreachable(place, again.why)
        else:
            error = EndpointFailed(
                f"{place} failed {attempt.failures} times in a row at "
                f"{attempt.call.subject}: {again.why}",
                fix="run the same command again later: what is there is not copied twice",
            )
            self._failed(attempt, error)

    def _failed(self, attempt: _Try[T], error: ImgctlError) -> None:
        failures = self._run.failures
        failures.append((attempt.call.subject, error))
        if len(failures) >= MOST_FAILURES:
            raise all_of(failures, self._what)

    def _last_chances(self) -> bool:
        """Bring back what was put aside, now that the rest is through; say whether any was."""
        run = self._run
        now = time.monotonic()
        for attempt in run.put_aside:
            attempt.last_chance = True
            heapq.heappush(run.waiting, (now, next(self._order), attempt))
        run.put_aside.clear()
        return bool(run.waiting)

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._watched < _TICK:
            return
        self._watched = now
        if now - self._freshened > _FRESHEN_EVERY:
            self._freshen()
        for attempt in self._run.flying.values():
            limit = self._patience.limit(attempt.call.size)
            if not attempt.ended and now - attempt.sent > limit:
                attempt.ended = True
                attempt.cancel()  # arrives as an answer without a status

    def _freshen(self) -> None:
        self._freshened = time.monotonic()
        with self._bucket.sdk("renewing the credentials"):
            self._bucket.lane.freshen()

    def _renewed(self, attempt: _Try[T]) -> bool:
        with self._bucket.sdk("renewing the credentials"):
            return self._bucket.lane.renew(attempt.sent)

    def _leave(self) -> None:
        """Cancel what is in flight, and wait a little for it to end."""
        run = self._run
        for attempt in run.flying.values():
            attempt.cancel()
        until = time.monotonic() + _LEAVE_WITHIN
        while run.flying and (left := until - time.monotonic()) > 0:
            try:
                arrived = run.inbox.get(timeout=left)
            except Empty:
                return
            if arrived is not None:
                arrived[0].forget()
                run.flying.pop(id(arrived[0]), None)


def ask(bucket: Bucket, call: Call[T], context: Context, patience: Patience) -> T:
    """Make one call and return what its `read` returned.

    Raises:
        ImgctlError: see `Dispatcher.run`.
    """
    (answered,) = Dispatcher[T](bucket, context, patience).run([call])
    return answered[1]
