"""Where images are: repositories of a registry, or OCI image layouts in a folder.

The copy engine knows a `Place` and a `Home`, and not which of the two they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from imgctl_backends.image.content.manifests import Descriptor, Manifest
from imgctl_backends.image.distribution.listings import Referral
from imgctl_backends.image.distribution.registry import Registry
from imgctl_backends.image.distribution.repository import Repository
from imgctl_backends.image.endpoint import Address, ImageEndpoint, ImageSettings
from imgctl_backends.image.layout.home import Layouts
from imgctl_backends.image.layout.repository import LayoutRepository
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.rates import Rates


class Home(Protocol):
    """What the places of one endpoint share. Safe to share between threads."""

    @property
    def address(self) -> Address: ...
    @property
    def settings(self) -> ImageSettings: ...
    @property
    def identity(self) -> tuple[object, ...]: ...

    def close(self) -> None: ...


class Content(Protocol):
    """A blob that is being read. `where` names its home in messages."""

    where: str

    def read(self, size: int) -> bytes: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Place(Protocol):
    """One repository. What each call promises and raises stands with `Repository`."""

    name: str

    @property
    def registry(self) -> Home: ...

    def find(self, flight: Flight, reference: str) -> str | None: ...
    def digest_of(self, flight: Flight, reference: str) -> str | None: ...
    def manifest(self, flight: Flight, digest: str) -> Manifest: ...
    def read(self, flight: Flight, reference: str) -> tuple[bytes, str] | None: ...
    def tags(self, flight: Flight) -> frozenset[str] | None: ...
    def referrers(self, flight: Flight, subject: str) -> tuple[Referral, ...] | None: ...
    def put_manifest(self, flight: Flight, reference: str, manifest: Manifest) -> bool: ...
    def has_blob(self, flight: Flight, blob: Descriptor) -> bool: ...
    def open_blob(self, flight: Flight, blob: Descriptor) -> Content: ...
    def open_rest(self, flight: Flight, blob: Descriptor, start: int) -> Content | None: ...
    def mount(self, flight: Flight, blob: Descriptor, neighbour: str) -> str | None: ...
    def begin_upload(self, flight: Flight) -> str: ...
    def put_blob(
        self, flight: Flight, location: str, blob: Descriptor, body: Iterable[bytes]
    ) -> None: ...
    def upload_state(self, flight: Flight, location: str) -> tuple[int, str]: ...
    def patch_blob(
        self,
        flight: Flight,
        location: str,
        blob: Descriptor,
        body: Iterable[bytes],
        start: int = 0,
    ) -> None: ...
    def abandon(self, location: str) -> None: ...


def open_home(endpoint: ImageEndpoint, settings: ImageSettings, rates: Rates | None = None) -> Home:
    """Return the home of an endpoint's places. Opens no connection yet."""
    if endpoint.layout:
        return Layouts(endpoint, settings)
    return Registry(endpoint, settings, rates)


def place_in(home: Home, name: str, *, push: bool) -> Place:
    """Return the place of an image by its name, to be written to when `push` is set."""
    if isinstance(home, Layouts):
        return LayoutRepository(home, name)
    if isinstance(home, Registry):
        return Repository(home, home.address.repository(name), push=push)
    raise TypeError(f"{home!r} is no home of images")
