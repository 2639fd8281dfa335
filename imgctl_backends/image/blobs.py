"""Copying one blob: straight from the source's socket into the destination's."""

from __future__ import annotations

from collections.abc import Iterator

from imgctl_backends.image.digests import hasher
from imgctl_backends.image.failures import unreachable
from imgctl_backends.image.faults import Fault, WrongBytes
from imgctl_backends.image.flight import Flight
from imgctl_backends.image.manifests import Descriptor
from imgctl_backends.image.repository import NoMonolith, Repository
from imgctl_backends.image.retry import Retry
from imgctl_backends.image.transport import Reply
from imgctl_core.context import ProgressCounter
from imgctl_core.errors import EndpointFailed, ImgctlError


class CheckedStream:
    """The bytes of a blob, of which the last go out only when all of them are right.

    A body that is longer or shorter than its Content-Length would damage the connection
    that it is sent on, so both are found out before.
    """

    def __init__(
        self,
        flight: Flight,
        reply: Reply,
        blob: Descriptor,
        chunk_bytes: int,
        progress: ProgressCounter,
    ) -> None:
        self._flight = flight
        self._reply = reply
        self._blob = blob
        self._chunk_bytes = chunk_bytes
        self._progress = progress
        self.sent = 0
        self.whole = False

    def __iter__(self) -> Iterator[bytes]:
        check = hasher(self._blob.digest)
        left = self._blob.size
        while left:
            self._flight.check()
            data = self._reply.read(min(self._chunk_bytes, left))
            if not data:
                raise self._wrong("is too short")
            left -= len(data)
            check.update(data)
            if not left:
                self._finish(check.hexdigest())
            yield data
            self.sent += len(data)
            self._progress.copied(len(data))
        if not self._blob.size:
            self._finish(check.hexdigest())

    def take_back(self) -> None:
        """Uncount what was sent: it will be sent again, or never arrive."""
        self._progress.copied(-self.sent)

    def _finish(self, hexdigest: str) -> None:
        if self._reply.read(1):
            raise self._wrong("is too long")
        if hexdigest != self._blob.digest.partition(":")[2]:
            raise self._wrong("has other bytes than its digest says")
        self.whole = True

    def _wrong(self, how: str) -> WrongBytes:
        return WrongBytes(self._reply.where, f"the blob {self._blob.digest} {how}")


class BlobCopy:
    """Copies blobs between two repositories. One for each stage; shared by its threads.

    `neighbour` is the source's repository when the destination's registry can mount
    from it.
    """

    def __init__(
        self,
        source: Repository,
        destination: Repository,
        flight: Flight,
        neighbour: str | None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._flight = flight
        self._neighbour = neighbour
        self._progress = flight.context.progress
        self._by_patch = False

    def copy(self, blob: Descriptor) -> None:
        """Bring a blob to the destination, unless it is there.

        Raises:
            ImgctlError: it can't be done, in as many attempts as the settings allow.
        """
        retry = Retry(self._flight, self._destination.registry.settings)
        arrived = False
        while True:
            self._flight.check()
            stream: CheckedStream | None = None
            try:
                if self._destination.has_blob(self._flight, blob):
                    # An upload whose answer was lost is one nevertheless.
                    count = self._progress.copied if arrived else self._progress.present
                    count(blob.size)
                    return
                location = self._mounted(blob)
                if location is None:
                    self._progress.mounted(blob.size)
                    return
                with self._source.open_blob(self._flight, blob) as reply:
                    stream = self._stream(reply, blob)
                    self._upload(location, blob, stream)
                return
            except Fault as fault:
                arrived = arrived or (stream is not None and stream.whole)
                if isinstance(fault, NoMonolith):
                    self._by_patch = True
                if not retry.again(fault):
                    raise _given_up(fault) from fault

    def _mounted(self, blob: Descriptor) -> str | None:
        if self._neighbour is None:
            return ""
        return self._destination.mount(self._flight, blob, self._neighbour)

    def _stream(self, reply: Reply, blob: Descriptor) -> CheckedStream:
        chunk = self._destination.registry.settings.chunk_bytes
        return CheckedStream(self._flight, reply, blob, chunk, self._progress)

    def _upload(self, location: str, blob: Descriptor, stream: CheckedStream) -> None:
        location = location or self._destination.begin_upload(self._flight)
        send = self._destination.patch_blob if self._by_patch else self._destination.put_blob
        try:
            send(self._flight, location, blob, stream)
            if not stream.whole:
                raise Fault(
                    str(self._destination.registry), "it answered before it had the whole blob"
                )
        except BaseException:
            stream.take_back()
            self._destination.abandon(location)
            raise


def _given_up(fault: Fault) -> ImgctlError:
    if isinstance(fault, WrongBytes):
        return EndpointFailed(
            f"the registry {fault.where} can't be used: {fault.reason}",
            fix="the source's copy of the image is damaged: push it there again",
        )
    return unreachable(fault)
