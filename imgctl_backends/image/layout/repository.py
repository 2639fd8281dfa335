"""A folder of OCI image layouts in the place of a registry.

Each repository is a layout of its own, in the folder of its name below the endpoint's:
`oci-layout:/media/usb` keeps `team/app:v1` in `/media/usb/team/app`, under the tag `v1`.
That is what `skopeo copy oci:/media/usb/team/app:v1` and `regctl`'s
`ocidir:///media/usb/team/app:v1` read and write.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from typing import Final

from imgctl_backends.image.content.digests import hasher, is_digest, matches, sha256
from imgctl_backends.image.content.manifests import Descriptor, Manifest, parse_manifest
from imgctl_backends.image.content.media_types import implied_type
from imgctl_backends.image.layout import disk
from imgctl_backends.image.layout.home import Layouts, Reading
from imgctl_backends.image.layout.index import LayoutIndex
from imgctl_backends.image.wire.faults import BlobUnknown, Fault, WrongBytes
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import ArtifactNotFound, EndpointFailed, InvalidReference

_INDEX: Final = "index.json"
_MARK: Final = "oci-layout"
_MARK_CONTENT: Final = b'{"imageLayoutVersion": "1.0.0"}'
_BLOBS: Final = "blobs"

#: An index.json names every tag of a repository, so it may be larger than a manifest.
_INDEX_BYTES: Final = 32 * 1024 * 1024
_MOST_REACHED: Final = 100_000

_LOCK_SECONDS: Final = 0.02


class LayoutRepository:
    """One layout, with what a `Repository` of a registry offers."""

    def __init__(self, layouts: Layouts, name: str) -> None:
        components = name.split("/")
        if {_BLOBS, _INDEX, _MARK} & set(components):
            raise InvalidReference(
                f"{name} can't be kept in an OCI image layout: '{_BLOBS}', '{_INDEX}' and "
                f"'{_MARK}' are names of its own files",
                fix="promote it to a registry, or under another name",
            )
        self.registry = layouts
        self.name = name
        self._components = components
        self._reached: tuple[tuple[int, int, int], frozenset[str]] | None = None

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"

    def find(self, flight: Flight, reference: str) -> str | None:
        """Return the digest of a tag or digest, None when it is not there.

        A digest is there when index.json leads to it.
        """
        flight.check()
        with self._open() as at:
            if at is None:
                return None
            if is_digest(reference):
                return reference if reference in self._reachable(at) else None
            digest = self._index(at).tagged(self.name, reference)
            if digest is None or self._manifest_bytes(at, digest) is None:
                return None
            return digest

    def digest_of(self, flight: Flight, reference: str) -> str | None:
        """Return the digest of the bytes under a tag or digest, None when there are none."""
        flight.check()
        with self._open() as at:
            if at is None:
                return None
            digest = (
                reference if is_digest(reference) else self._index(at).tagged(self.name, reference)
            )
            content = None if digest is None else self._manifest_bytes(at, digest)
            return None if content is None else sha256(content)

    def manifest(self, flight: Flight, digest: str) -> Manifest:
        """Read a manifest, and check that it is the one that was asked for.

        Raises:
            ArtifactNotFound: the layout does not have it.
            EndpointFailed: it has other bytes, or what we can't copy.
        """
        flight.check()
        with self._open() as at:
            content = None if at is None else self._manifest_bytes(at, digest)
        if content is None:
            raise ArtifactNotFound(f"{self} has no manifest {digest}")
        return parse_manifest(digest, content, implied_type(content))

    def read(self, flight: Flight, reference: str) -> tuple[bytes, str] | None:
        """Return a manifest's bytes, and the media type that they imply."""
        flight.check()
        with self._open() as at:
            if at is None:
                return None
            digest = (
                reference if is_digest(reference) else self._index(at).tagged(self.name, reference)
            )
            content = None if digest is None else self._manifest_bytes(at, digest)
        return None if content is None else (content, implied_type(content))

    def tags(self, flight: Flight) -> frozenset[str]:
        """Return all tags."""
        flight.check()
        with self._open() as at:
            return frozenset() if at is None else frozenset(self._index(at).tags)

    def referrers(self, flight: Flight, subject: str) -> None:
        """Return None: layouts keep referrers under the fallback tag."""

    def put_manifest(self, flight: Flight, reference: str, manifest: Manifest) -> bool:
        """Put a manifest under a tag or its digest, its bytes as they are.

        Returns False: layouts keep lists of referrers only where somebody writes them.

        Raises:
            BlobUnknown: something that it points at is missing.
        """
        with self._writable(flight) as at:
            for entry in (*manifest.blobs, *manifest.children):
                if not entry.foreign and not self._holds(at, entry):
                    raise BlobUnknown(f"{entry.digest} is not there")
            with disk.writing(at) as (handle, name):
                disk.write_all(handle, manifest.content)
                self._name_blob(at, manifest.digest, name)
            with self._locked(flight, at):
                index = self._index(at)
                # A list of referrers is made by us, and comes without its children.
                whole = parse_manifest(manifest.digest, manifest.content, manifest.media_type)
                index.put(whole, None if is_digest(reference) else reference)
                with disk.writing(at) as (handle, name):
                    disk.write_all(handle, index.content)
                    name(at, _INDEX)
        return False

    def has_blob(self, flight: Flight, blob: Descriptor) -> bool:
        """Return whether the blob is there in its right size."""
        flight.check()
        with self._open() as at:
            return at is not None and self._holds(at, blob)

    def open_blob(self, flight: Flight, blob: Descriptor) -> Reading:
        """Begin to read a blob.

        Raises:
            ArtifactNotFound: the layout does not have it.
            WrongBytes: its file has another size.
        """
        flight.check()
        with self._open() as at, self._blobs(at, blob.digest) as blobs:
            handle = None if blobs is None else disk.open_file(blobs, _hex(blob.digest))
        if handle is None:
            raise ArtifactNotFound(f"{self} has no blob {blob.digest}")
        if os.fstat(handle).st_size != blob.size:
            os.close(handle)
            raise WrongBytes(str(self), f"the blob {blob.digest} has the wrong size")
        return Reading(str(self), handle)

    def open_rest(self, flight: Flight, blob: Descriptor, start: int) -> Reading:
        """Begin to read a blob at byte `start`; raises like `open_blob`."""
        reading = self.open_blob(flight, blob)
        reading.skip(start)
        return reading

    def mount(self, flight: Flight, blob: Descriptor, neighbour: str) -> str | None:
        """Return "": folders don't share blobs."""
        flight.check()
        return ""

    def begin_upload(self, flight: Flight) -> str:
        """Make sure that there is a layout to write to, and return a location in it."""
        with self._writable(flight):
            return f"{self}#{uuid.uuid4().hex}"

    def put_blob(
        self, flight: Flight, location: str, blob: Descriptor, body: Iterable[bytes]
    ) -> None:
        """Write a whole blob, and show it once its bytes are checked.

        Raises:
            WrongBytes: they are not what the digest says.
        """
        check = hasher(blob.digest)
        size = 0
        with self._writable(flight) as at, disk.writing(at) as (handle, name):
            for data in body:
                flight.check()
                check.update(data)
                size += len(data)
                disk.write_all(handle, data)
            if size != blob.size or check.hexdigest() != _hex(blob.digest):
                raise WrongBytes(str(self), f"the blob {blob.digest} arrived damaged")
            self._name_blob(at, blob.digest, name)

    def upload_state(self, flight: Flight, location: str) -> tuple[int, str]:
        """Say that nothing is left of an upload that broke."""
        flight.check()
        return 0, ""

    def patch_blob(
        self,
        flight: Flight,
        location: str,
        blob: Descriptor,
        body: Iterable[bytes],
        start: int = 0,
    ) -> None:
        """Write a whole blob, like `put_blob`.

        Raises:
            Fault: `start` is not 0, and what came before is gone.
        """
        if start:
            raise Fault(str(self), "there is nothing to go on with")
        self.put_blob(flight, location, blob, body)

    def abandon(self, location: str) -> None:
        """What was not finished is gone already."""

    @contextlib.contextmanager
    def _open(self, *, create: bool = False) -> Iterator[int | None]:
        with (
            disk.explained(str(self)),
            disk.folder(self.registry.root, self._components, create=create) as at,
        ):
            yield at

    @contextlib.contextmanager
    def _writable(self, flight: Flight) -> Iterator[int]:
        """Open the layout, and make it one where it is none yet."""
        flight.check()
        with self._open(create=True) as at:
            if at is None:
                raise EndpointFailed(f"{self} was removed while we wrote to it")
            if self.registry.first_write(self.name) or disk.read_file(at, _MARK, 4096) is None:
                disk.sweep(at)
                with self._locked(flight, at):
                    self._make(at)
            yield at

    @contextlib.contextmanager
    def _locked(self, flight: Flight, at: int) -> Iterator[None]:
        """Keep everybody else who locks from changing index.json."""
        with disk.lock_file(at, _MARK) as taken:
            while not taken():
                flight.pause(_LOCK_SECONDS)
            yield

    def _make(self, at: int) -> None:
        if not disk.read_file(at, _MARK, 4096):
            # In place: it is what the lock is on.
            disk.overwrite(at, _MARK, _MARK_CONTENT)
        if disk.read_file(at, _INDEX, _INDEX_BYTES) is None:
            with disk.writing(at) as (handle, name):
                disk.write_all(handle, LayoutIndex(str(self), None).content)
                name(at, _INDEX)

    def _index(self, at: int) -> LayoutIndex:
        content = disk.read_file(at, _INDEX, _INDEX_BYTES)
        if content is not None:
            _check_mark(str(self), disk.read_file(at, _MARK, 4096))
        return LayoutIndex(str(self), content)

    @contextlib.contextmanager
    def _blobs(self, at: int | None, digest: str, *, create: bool = False) -> Iterator[int | None]:
        """Open the folder of the blobs whose digests are of this one's algorithm."""
        if at is None:
            yield None
            return
        algorithm = digest.partition(":")[0]
        with disk.below(at, (_BLOBS, algorithm), create=create) as blobs:
            yield blobs

    def _holds(self, at: int, entry: Descriptor) -> bool:
        with self._blobs(at, entry.digest) as blobs:
            return blobs is not None and disk.size_of(blobs, _hex(entry.digest)) == entry.size

    def _name_blob(self, at: int, digest: str, name: disk.Name) -> None:
        with self._blobs(at, digest, create=True) as blobs:
            if blobs is None:
                raise EndpointFailed(f"{self} was removed while we wrote to it")
            name(blobs, _hex(digest))

    def _manifest_bytes(self, at: int, digest: str) -> bytes | None:
        with self._blobs(at, digest) as blobs:
            if blobs is None:
                return None
            content = disk.read_file(blobs, _hex(digest), self.registry.settings.manifest_bytes)
        if content is not None and not matches(digest, content):
            raise EndpointFailed(
                f"{self} has wrong bytes for the manifest {digest}",
                fix=f"remove its file {_BLOBS}/{digest.replace(':', '/')}, and promote again",
            )
        return content

    def _reachable(self, at: int) -> frozenset[str]:
        """Return the digests of all manifests to which index.json leads."""
        stamp = disk.stamp_of(at, _INDEX)
        if self._reached is None or self._reached[0] != stamp:
            self._reached = (stamp, self._walk(at))
        return self._reached[1]

    def _walk(self, at: int) -> frozenset[str]:
        reached: set[str] = set()
        waiting = self._index(at).digests
        while waiting and len(reached) < _MOST_REACHED:
            digest = waiting.pop()
            if digest in reached:
                continue
            content = self._manifest_bytes(at, digest)
            if content is None:
                continue
            reached.add(digest)
            with contextlib.suppress(EndpointFailed):
                manifest = parse_manifest(digest, content, implied_type(content))
                waiting += [child.digest for child in manifest.children]
        return frozenset(reached)


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _check_mark(where: str, content: bytes | None) -> None:
    try:
        version = json.loads(content or b"")["imageLayoutVersion"]
    except (ValueError, LookupError, TypeError, RecursionError):
        version = None
    if not isinstance(version, str) or not version.startswith("1."):
        raise EndpointFailed(
            f"{where} is no OCI image layout that we can use: its file {_MARK} does not say "
            "version 1"
        )
