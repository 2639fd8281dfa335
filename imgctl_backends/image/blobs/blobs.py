"""Copying one blob: from the source's socket into the destination's, and kept on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Final, Self

from imgctl_backends.image.blobs.reading import PROGRESS_BYTES, BlobReader
from imgctl_backends.image.blobs.spool import Kept, Spool
from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.copy.preparing import neighbour
from imgctl_backends.image.copy.sightings import Sightings, party
from imgctl_backends.image.distribution.failures import unreachable
from imgctl_backends.image.distribution.registry import Registry
from imgctl_backends.image.distribution.repository import NoMonolith
from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.faults import Fault, Interrupted, Renewed, WrongBytes
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.retry import Retry
from imgctl_core.context import Context
from imgctl_core.errors import EndpointFailed, ImgctlError

#: How long a session that nobody wants any more is waited for, to cancel it at once.
_LEAVE_SECONDS: Final = 0.5

_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Tools:
    """What all copies of a server share.

    `beside` runs a request in a thread of its own, while its caller does another.
    """

    settings: ImageSettings
    spool: Spool
    sightings: Sightings
    beside: Callable[[Callable[[], str]], Future[str]]


@dataclass(frozen=True, slots=True)
class Errand:
    """One blob that one promotion wants at its destination."""

    flight: Flight
    source: Place
    destination: Place
    blob: Descriptor


class BlobCopy:
    """Does one errand. Use it in a `with`, once."""

    def __init__(self, tools: Tools, errand: Errand) -> None:
        self._tools = tools
        self._flight = errand.flight
        self._source = errand.source
        self._destination = errand.destination
        self._blob = errand.blob
        self._progress = errand.flight.context.progress
        self._retry = Retry(errand.flight, tools.settings)
        self._kept = Kept(tools.spool, errand.blob.size, tools.settings.kept_bytes)
        self._reader = self._new_reader()
        self._by_patch = False
        self._counted = 0
        self._sent = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._kept.clear()

    def copy(self) -> None:
        """Bring the blob to the destination, unless it is there.

        Raises:
            ImgctlError: it can't be done, in as many attempts as the settings allow.
        """
        look = not self._tools.sightings.absent(self._destination, self._blob)
        mounting = True
        while True:
            self._flight.check()
            try:
                if look and self._destination.has_blob(self._flight, self._blob):
                    # An upload whose answer was lost is one nevertheless.
                    count = self._progress.copied if self._sent else self._progress.present
                    count(self._blob.size)
                    break
                location = mount(self._tools, self._errand) if mounting else ""
                mounting = False
                if location is None:
                    self._progress.mounted(self._blob.size)
                    break
                self._upload(location or self._begin())
                break
            except Fault as fault:
                self._recover(fault)
                look = True
        self._tools.sightings.note_present(self._destination, self._blob)

    @property
    def _errand(self) -> Errand:
        return Errand(self._flight, self._source, self._destination, self._blob)

    def _new_reader(self) -> BlobReader:
        return BlobReader(self._flight, self._source, self._blob, self._tools.settings)

    def _recover(self, fault: Fault) -> None:
        """Get ready for another attempt.

        Raises:
            ImgctlError: there shall be none.
        """
        if isinstance(fault, NoMonolith):
            self._by_patch = True
        if not self._retry.again(fault):
            raise _given_up(fault) from fault
        if (isinstance(fault, WrongBytes) and not self._reader.whole) or not self._kept.has(0):
            self._reader.close()
            self._kept.clear()
            self._reader = self._new_reader()

    def _begin(self) -> str:
        """Open an upload session, and the source at the same time."""
        if self._reader.position:
            return self._destination.begin_upload(self._flight)
        # Not cut with the rest, so that its answer arrives: it names what to cancel.
        own = Flight(Context(deadline=self._flight.context.deadline))
        session = self._tools.beside(lambda: self._destination.begin_upload(own))
        try:
            self._reader.open()
            while not session.done():
                wait([session], _LOOK_SECONDS)
                self._flight.check()
        except BaseException:
            wait([session], _LEAVE_SECONDS)
            own.cut()
            session.add_done_callback(self._leave)
            raise
        return session.result()

    def _leave(self, session: Future[str]) -> None:
        if not session.cancelled() and session.exception() is None:
            self._destination.abandon(session.result())

    def _upload(self, location: str) -> None:
        """Send the blob into a session, going on in it as long as it knows where it is."""
        start = 0
        try:
            while True:
                try:
                    self._send(location, start)
                    return
                except Fault as fault:
                    began = start
                    start, location = self._resume(fault, location)
                    self._count(start)
                    if start <= began:
                        raise
                    if start - began >= PROGRESS_BYTES:
                        self._retry.progress()
                    if not self._retry.again(fault):
                        raise
        except BaseException:
            self._count(0)
            self._destination.abandon(location)
            raise

    def _send(self, location: str, start: int) -> None:
        body = self._body(start)
        if start:
            self._destination.patch_blob(self._flight, location, self._blob, body, start)
        elif self._by_patch:
            self._destination.patch_blob(self._flight, location, self._blob, body)
        else:
            self._destination.put_blob(self._flight, location, self._blob, body)
        if self._counted != self._blob.size:
            where = str(self._destination.registry)
            raise Fault(where, "it answered before it had the whole blob")

    def _resume(self, fault: Fault, location: str) -> tuple[int, str]:
        """Return where the session goes on, 0 when it must be another one."""
        settled = isinstance(fault, Renewed | NoMonolith | WrongBytes | Interrupted)
        if settled or not self._counted or not _tells_progress(self._destination):
            return 0, location
        held, there = self._destination.upload_state(self._flight, location)
        if not 0 < held <= self._counted or not self._kept.has(held):
            return 0, location
        return held, there

    def _body(self, start: int) -> Iterator[bytes]:
        position = start
        while position < self._blob.size:
            self._flight.check()
            if position < self._kept.end:
                data = self._kept.read(position, self._tools.settings.chunk_bytes)
            else:
                data = self._reader.read()
                self._kept.append(data)
            position += len(data)
            self._sent = self._sent or position == self._blob.size
            yield data
            self._count(position)
        if not self._blob.size:
            self._reader.read()
            self._sent = True

    def _count(self, position: int) -> None:
        self._progress.copied(position - self._counted)
        self._counted = position


def mount(tools: Tools, errand: Errand) -> str | None:
    """Have the destination's registry take a blob from another of its repositories.

    Returns None when it did, the location of an ordinary upload session when it opened
    one instead, and "" when it did neither.
    """
    whose = party(errand.destination)
    if tools.sightings.mounts(whose) is False:
        return ""
    own = errand.destination.name
    others = [
        name for name in tools.sightings.holders(errand.destination, errand.blob) if name != own
    ]
    if others and neighbour(errand.destination, errand.destination) is None:
        others = []
    first = neighbour(errand.source, errand.destination)
    if first is not None:
        others.insert(0, first)
    if not others:
        return ""
    location = errand.destination.mount(errand.flight, errand.blob, others[0])
    tools.sightings.note_mount(whose, worked=location is None)
    return location


def _tells_progress(place: Place) -> bool:
    # What ECR says of a session's progress is stale.
    home = place.registry
    return isinstance(home, Registry) and home.ecr is None


def _given_up(fault: Fault) -> ImgctlError:
    if isinstance(fault, WrongBytes):
        return EndpointFailed(
            f"the registry {fault.where} can't be used: {fault.reason}",
            fix="the source's copy of the image is damaged: push it there again",
        )
    return unreachable(fault)
