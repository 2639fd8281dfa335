"""A version's place in an opened bucket, and how buckets are opened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from imgctl_backends.spa.endpoint import SpaEndpoint
from imgctl_backends.spa.references import Place
from imgctl_backends.spa.wire.fastlane import Address, Lane
from imgctl_backends.spa.wire.faults import from_sdk
from imgctl_backends.spa.wire.session import Connection, Connections
from imgctl_core.errors import EndpointFailed

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_UNRESERVED: Final = "/-_.~"

#: boto3's arguments for what a write sets, as the headers that they become.
_HEADERS: Final = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
    "ACL": "x-amz-acl",
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A version's place in a bucket, and the two ways to it: boto3 and the fast lane.

    `base` is the path in front of keys: the bucket's name where it is not in the host.
    `writing` has the boto3 arguments that every write there has.
    """

    place: Place
    client: S3Client
    lane: Lane
    base: str
    custom: bool
    writing: dict[str, Any] = field(default_factory=dict)

    def key(self, relative: str) -> str:
        return self.place.prefix + relative

    def path(self, relative: str) -> str:
        """Return the path of an object in a request."""
        return f"{self.base}/{quote(self.key(relative), safe=_UNRESERVED)}"

    def copy_source(self, relative: str) -> str:
        return quote(f"{self.place.bucket}/{self.key(relative)}", safe=_UNRESERVED)

    def guard(self) -> dict[str, Any]:
        """Return the boto3 arguments that say who must own the bucket."""
        return {"ExpectedBucketOwner": self.place.owner} if self.place.owner else {}

    def guard_headers(self) -> tuple[tuple[str, str], ...]:
        owner = self.place.owner
        return (("x-amz-expected-bucket-owner", owner),) if owner else ()

    def write_headers(self) -> tuple[tuple[str, str], ...]:
        """Return `writing` as the headers of a request."""
        return tuple((_HEADERS[name], _text(value)) for name, value in self.writing.items())

    @contextmanager
    def sdk(self, action: str) -> Iterator[S3Client]:
        """Yield boto3's client; what it raises inside becomes an error of imgctl's."""
        try:
            yield self.client
        except (BotoCoreError, ClientError) as error:
            raise from_sdk(error, self.place, action) from error


@dataclass(frozen=True, slots=True)
class _Way:
    connection: Connection
    lane: Lane
    base: str


class Buckets:
    """Opens buckets, and keeps the ways to them."""

    def __init__(self) -> None:
        self._connections = Connections()
        self._lock = threading.Lock()
        self._ways: dict[tuple[object, ...], _Way] = {}
        self._lanes: dict[tuple[object, ...], Lane] = {}

    def open(self, place: Place, endpoint: SpaEndpoint) -> Bucket:
        """Return the bucket, after one small call by boto3 the first time.

        That call finds out what the fast lane can't: it says clearly what is wrong, and
        soon; it follows a bucket to its region; and it shows the address and the region
        that boto3 derives from all its settings, which the lane then uses.

        Raises:
            ImgctlError: typed, when the bucket can't be used.
        """
        key = (*endpoint.connection, place.bucket, place.owner)
        with self._lock:
            way = self._ways.get(key)
        if way is None:
            way = self._find(place, endpoint)
            with self._lock:
                self._ways[key] = way
        connection = way.connection
        return Bucket(
            place, connection.client, way.lane, way.base, connection.custom, endpoint.writing
        )

    def _find(self, place: Place, endpoint: SpaEndpoint) -> _Way:
        try:
            connection = self._connections.get(endpoint)
            address, base = _preflight(connection.client, place)
        except (BotoCoreError, ClientError) as error:
            raise from_sdk(error, place, "s3:ListBucket") from error
        with self._lock:
            key = (address, connection.ca_file, *endpoint.identity)
            if key not in self._lanes:
                self._lanes[key] = Lane(address, connection.credentials, connection.ca_file)
            return _Way(connection, self._lanes[key], base)

    def close(self) -> None:
        with self._lock:
            self._ways.clear()
            self._lanes.clear()
        self._connections.close()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _preflight(client: S3Client, place: Place) -> tuple[Address, str]:
    guard: Any = {"ExpectedBucketOwner": place.owner} if place.owner else {}
    with _watched(client) as seen:
        client.list_objects_v2(
            Bucket=place.bucket,
            Prefix=place.prefix,
            MaxKeys=1,
            **guard,
        )
    if not seen.url:
        raise EndpointFailed(f"{place} can't be used: boto3 did not say where it is")
    parts = urlsplit(seen.url)
    return Address(parts.scheme, parts.netloc, seen.region), parts.path.rstrip("/")


class _Seen(threading.local):
    """The last request of this thread: its URL, and the region it was signed for."""

    url = ""
    region = ""

    def note(self, request: Any, **_: Any) -> None:
        self.url = str(request.url)
        signed = request.headers.get("Authorization", "")
        text = signed.decode("ascii") if isinstance(signed, bytes) else str(signed)
        # AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/s3/aws4_request, …
        scope = text.partition("Credential=")[2].partition(",")[0].split("/")
        self.region = scope[-3] if len(scope) >= 5 else "us-east-1"


@contextmanager
def _watched(client: S3Client) -> Iterator[_Seen]:
    seen = _Seen()
    event = "before-send.s3.ListObjectsV2"
    client.meta.events.register_first(event, seen.note)
    try:
        yield seen
    finally:
        client.meta.events.unregister(event, seen.note)
