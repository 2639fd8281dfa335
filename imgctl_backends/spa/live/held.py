"""A version as an environment's bucket holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imgctl_backends.spa.live.record import Version
from imgctl_backends.spa.manifest import File, digest
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.listing import list_version
from imgctl_backends.spa.transfer import names
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context
from imgctl_core.errors import ArtifactNotFound, VerificationFailed


@dataclass(frozen=True, slots=True)
class Held:
    """A version's place and its files, and their digest by the entity tags listed there."""

    bucket: Bucket
    version: Version
    files: Sequence[File]


def at_root(bucket: Bucket) -> Bucket:
    """Return the root of a bucket, whatever place of it is given: it is written to."""
    return replace(bucket, place=replace(bucket.place, role="destination", prefix=""))


def at_version(bucket: Bucket, name: str) -> Bucket:
    """Return a version's place in a bucket, whatever place of it is given: it is read."""
    return replace(bucket, place=replace(bucket.place, role="source", prefix=f"{name}/"))


def hold(bucket: Bucket, name: str, context: Context, patience: Patience) -> Held | None:
    """Return what the bucket holds of a version, None for nothing.

    `bucket` may be at any place of it.
    """
    there = at_version(bucket, name)
    files = list_version(there, context, patience).files
    if not files:
        return None
    return Held(there, Version(name, digest(files)), files)


def check_whole(held: Held | None, bucket: Bucket, name: str, order: Order) -> Held:
    """Return a version that can go live as far as its list tells.

    Raises:
        ArtifactNotFound: the bucket holds no file of it.
        VerificationFailed: it has no entry point, or an empty one.
    """
    place = bucket.place
    if held is None:
        raise ArtifactNotFound(
            f"there is no such SPA build in {place.environment}: s3://{place.bucket}/{name}/ "
            "holds no file",
            fix=f"promote it to {place.environment} first",
        )
    _, entries = order.split(held.files)
    if not entries:
        raise _broken(held, "it has no entry point, such as index.html")
    empty = [file.key for file in entries if not file.size]
    if empty:
        raise _broken(held, f"it has empty entry points: {names(empty, order)}")
    return held


def _broken(held: Held, why: str) -> VerificationFailed:
    return VerificationFailed(
        f"{held.bucket.place.url} can't go live, since {why}",
        fix="publish the build again, under a new version",
    )
