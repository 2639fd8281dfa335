"""Reading a blob from its source, over as many connections as it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeVar

from imgctl_backends.image.content.digests import hasher
from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.distribution.failures import unreachable
from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.places import Content, Place
from imgctl_backends.image.wire.faults import Fault, WrongBytes
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.retry import Retry

T = TypeVar("T")

#: So much between two faults, and the later one counts as the first.
PROGRESS_BYTES = 1024 * 1024


class BlobReader:
    """The bytes of a blob in their order, of which the last come only when all are right.

    A connection that breaks is replaced by one that goes on at the same byte, and the
    hash with it. Every one of them begins at the registry itself, so that a redirect's
    target is a fresh one. Use it in a `with`.
    """

    def __init__(
        self, flight: Flight, source: Place, blob: Descriptor, settings: ImageSettings
    ) -> None:
        self._flight = flight
        self._source = source
        self._blob = blob
        self._piece = settings.chunk_bytes
        self._retry = Retry(flight, settings)
        self._reply: Content | None = None
        self._check = hasher(blob.digest)
        self._ranges = True
        self._broke_at = 0
        self.position = 0
        self.whole = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect now, unless that is done; raises like `read`."""
        if self._reply is None and self._blob.size:
            self._patiently(self._connect)

    def read(self) -> bytes:
        """Return the next bytes, none at the end.

        Raises:
            WrongBytes: the source has other bytes, or another number of them.
            ImgctlError: it can't be read, in as many attempts as the settings allow.
        """
        return b"" if self.whole else self._patiently(self._next)

    def close(self) -> None:
        if self._reply is not None:
            self._reply.close()
            self._reply = None

    def _patiently(self, step: Callable[[], T]) -> T:
        while True:
            self._flight.check()
            try:
                return step()
            except WrongBytes:
                self.close()
                raise
            except Fault as fault:
                self.close()
                if self.position - self._broke_at >= PROGRESS_BYTES:
                    self._retry.progress()
                self._broke_at = self.position
                if not self._retry.again(fault):
                    raise unreachable(fault) from fault

    def _next(self) -> bytes:
        left = self._blob.size - self.position
        if not left:
            self._finish(self._check.hexdigest())
            return b""
        if self._reply is None:
            self._connect()
        data = self._from_wire(min(self._piece, left))
        self._check.update(data)
        if len(data) == left:
            self._finish(self._check.hexdigest())
        self.position += len(data)
        return data

    def _finish(self, hexdigest: str) -> None:
        if self._more():
            raise self._wrong("is too long")
        if hexdigest != self._blob.digest.partition(":")[2]:
            raise self._wrong("has other bytes than its digest says")
        self.whole = True
        self.close()

    def _more(self) -> bool:
        try:
            return self._reply is not None and bool(self._reply.read(1))
        except Fault:
            return False  # it broke after the last byte

    def _connect(self) -> None:
        if self.position and self._ranges:
            self._reply = self._source.open_rest(self._flight, self._blob, self.position)
            if self._reply is not None:
                return
            self._ranges = False
        self._reply = self._source.open_blob(self._flight, self._blob)
        if self.position:
            self._skip()

    def _skip(self) -> None:
        """Read what was read before once more: this registry has no ranges."""
        again = hasher(self._blob.digest)
        left = self.position
        while left:
            self._flight.check()
            data = self._from_wire(min(self._piece, left))
            again.update(data)
            left -= len(data)
        if again.hexdigest() != self._check.hexdigest():
            raise self._wrong("changed while it was read")

    def _from_wire(self, size: int) -> bytes:
        reply = self._reply
        data = reply.read(size) if reply is not None else b""
        if not data:
            raise self._wrong("is too short")
        return data

    def _wrong(self, how: str) -> WrongBytes:
        return WrongBytes(str(self._source.registry), f"the blob {self._blob.digest} {how}")
