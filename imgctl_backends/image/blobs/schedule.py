"""Which blob is brought next: one queue for all images of all promotions of a server.

The largest blob goes first, since what is left at the end would go alone. A blob that
several images want at one registry is brought once: the first errand leads, the others
follow, and mount it when it is there. A leader that fails or is cancelled makes the next
follower the leader.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, cast

from imgctl_backends.image.blobs.blobs import BlobCopy, Errand, Tools, mount
from imgctl_backends.image.blobs.spool import Spool
from imgctl_backends.image.blobs.workers import gather
from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.copy.sightings import Sightings, party
from imgctl_backends.image.distribution.failures import unreachable
from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.faults import Fault
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import ArtifactNotFound, EndpointDenied, EndpointFailed

#: What a copy holds beside the bytes that it keeps: one piece being read, one being sent.
_PIECES: Final = 2

_MIB: Final = 1024 * 1024


@dataclass(eq=False, slots=True)
class _Wanted:
    """An errand in the queue, and what its promotion waits for."""

    errand: Errand
    key: Hashable
    done: Future[None] = field(default_factory=Future)

    @property
    def ends(self) -> tuple[str, str]:
        return str(self.errand.source.registry), str(self.errand.destination.registry)


class Schedule:
    """Brings blobs. One for a server; safe to share between threads."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._copying = ThreadPoolExecutor(settings.jobs, thread_name_prefix="imgctl-blob")
        self._beside = ThreadPoolExecutor(settings.jobs, thread_name_prefix="imgctl-beside")
        self.sightings = Sightings()
        self._spool = spool = Spool(settings.spool_bytes, settings.spool_dir)
        self._tools = Tools(settings, spool, self.sightings, self._aside)
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._lanes: dict[tuple[str, str], list[tuple[int, int, _Wanted]]] = {}
        self._followers: dict[Hashable, list[_Wanted]] = {}
        self._running = 0
        self._held = 0
        self._reading: Counter[str] = Counter()
        self._writing: Counter[str] = Counter()

    def bring(
        self,
        flight: Flight,
        source: Place,
        destination: Place,
        blobs: Sequence[Descriptor],
        *,
        optional: Sequence[Descriptor] = (),
    ) -> dict[str, str]:
        """Bring blobs to the destination, those that are not there.

        Returns the digests of those `optional` ones that can't be had or are refused,
        and why. They disturb nobody.

        Raises:
            ImgctlError: one of `blobs` can't be brought; the others are left.
            Cancelled, DeadlineExceeded: at most two seconds after they became true.
        """
        wanted = []
        for blob in (*blobs, *optional):
            errand = Errand(flight, source, destination, blob)
            wanted.append(_Wanted(errand, self._key(errand)))
        with self._lock:
            for want in wanted:
                self._add(want)
        self._start()
        count = len(blobs)
        refused = [_tolerated(want.done) for want in wanted[count:]]
        every: list[Future[object]] = [
            *(cast(Future[object], want.done) for want in wanted[:count])
        ]
        every += [cast(Future[object], one) for one in refused]
        gather(flight, every)
        answers = ((blob.digest, one.result()) for blob, one in zip(optional, refused, strict=True))
        return {digest: why for digest, why in answers if why is not None}

    def close(self) -> None:
        self._copying.shutdown(wait=False, cancel_futures=True)
        self._beside.shutdown(wait=False, cancel_futures=True)
        self._spool.close()

    def _aside(self, task: Callable[[], str]) -> Future[str]:
        return self._beside.submit(task)

    def _key(self, errand: Errand) -> Hashable:
        """Return what two errands have in common when one can follow the other."""
        whose = party(errand.destination)
        if self.sightings.mounts(whose) is False:
            return self._own_key(errand)
        return whose, errand.blob.digest

    def _own_key(self, errand: Errand) -> Hashable:
        return party(errand.destination), errand.blob.digest, errand.destination.name

    def _add(self, want: _Wanted) -> None:
        if want.key in self._followers:
            self._followers[want.key].append(want)
        else:
            self._followers[want.key] = []
            self._queue(want)

    def _queue(self, want: _Wanted) -> None:
        entry = (-want.errand.blob.size, next(self._count), want)
        heapq.heappush(self._lanes.setdefault(want.ends, []), entry)

    def _start(self) -> None:
        """Begin whatever the limits allow."""
        with self._lock:
            while (want := self._next()) is not None:
                self._account(want, 1)
                self._copying.submit(self._lead, want)

    def _next(self) -> _Wanted | None:
        if self._running >= self._settings.jobs:
            return None
        most = self._settings.jobs_per_host
        free = [
            (lane[0], ends)
            for ends, lane in self._lanes.items()
            if self._reading[ends[0]] < most and self._writing[ends[1]] < most
        ]
        if not free:
            return None
        (_, _, want), ends = min(free)
        budget = self._settings.memory_mib * _MIB
        if self._running and self._held + self._cost(want) > budget:
            return None
        heapq.heappop(self._lanes[ends])
        if not self._lanes[ends]:
            del self._lanes[ends]
        return want

    def _cost(self, want: _Wanted) -> int:
        """Return how much memory an errand takes while it runs."""
        size, pieces = want.errand.blob.size, _PIECES * self._settings.chunk_bytes
        return min(size, self._settings.kept_bytes) + min(size, pieces)

    def _account(self, want: _Wanted, by: int) -> None:
        source, destination = want.ends
        self._running += by
        self._held += by * self._cost(want)
        self._reading[source] += by
        self._writing[destination] += by

    def _lead(self, want: _Wanted) -> None:
        came = False
        try:
            if want.done.set_running_or_notify_cancel():
                with BlobCopy(self._tools, want.errand) as copy:
                    copy.copy()
                came = True
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits
            want.done.set_exception(error)
        finally:
            followers = self._ended(want, came=came)
            self._start()
        if came:
            want.done.set_result(None)
        self._follow(followers)

    def _ended(self, want: _Wanted, *, came: bool) -> list[_Wanted]:
        """Give back what an errand took; return those that may now follow it."""
        with self._lock:
            self._account(want, -1)
            followers = self._followers.pop(want.key)
            if came:
                return followers
            alive = [one for one in followers if not one.done.cancelled()]
            if alive:
                self._followers[want.key] = alive[1:]
                self._queue(alive[0])
        return []

    def _follow(self, followers: list[_Wanted]) -> None:
        """Let errands mount what their leader brought, the first one alone.

        A registry that refuses the first is not asked for the others.
        """
        if not followers:
            return
        known = self.sightings.mounts(party(followers[0].errand.destination))
        if known is not None:
            for one in followers:
                self._beside.submit(self._take, one, [])
        else:
            self._beside.submit(self._take, followers[0], followers[1:])

    def _take(self, want: _Wanted, others: list[_Wanted]) -> None:
        try:
            if want.done.set_running_or_notify_cancel():
                if self._taken(want.errand):
                    want.done.set_result(None)
                else:
                    self._alone(want)
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits
            want.done.set_exception(error)
        finally:
            self._follow(others)

    def _taken(self, errand: Errand) -> bool:
        """Have a blob without moving its bytes, now that the registry holds it."""
        errand.flight.check()
        progress, size = errand.flight.context.progress, errand.blob.size
        if errand.destination.name in self.sightings.holders(errand.destination, errand.blob):
            progress.present(size)
            return True
        try:
            location = mount(self._tools, errand)
        except Fault as fault:
            raise unreachable(fault) from fault
        if location is not None:
            if location:
                errand.destination.abandon(location)
            return False
        self.sightings.note_present(errand.destination, errand.blob)
        progress.mounted(size)
        return True

    def _alone(self, want: _Wanted) -> None:
        """Queue an errand that found nothing to mount as one that uploads."""
        again = _Wanted(want.errand, self._own_key(want.errand))
        again.done.add_done_callback(lambda ended: _pass_on(ended, want.done))
        with self._lock:
            self._add(again)
        self._start()


def _pass_on(ended: Future[None], to: Future[None]) -> None:
    error = ended.exception()
    if error is None:
        to.set_result(None)
    else:
        to.set_exception(error)


def _tolerated(done: Future[None]) -> Future[str | None]:
    """Return a future that takes what concerns one blob alone for an answer."""
    answer: Future[str | None] = Future()

    def pass_on(ended: Future[None]) -> None:
        error = None if ended.cancelled() else ended.exception()
        if not answer.set_running_or_notify_cancel():
            return
        if error is None or isinstance(error, ArtifactNotFound | EndpointFailed | EndpointDenied):
            answer.set_result(None if error is None else error.message)
        else:
            answer.set_exception(error)

    done.add_done_callback(pass_on)
    return answer
