"""What of an image, and of what hangs on it, a destination has already."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.content.digests import matches
from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.copy.attachments import Attachment, fallback_tag
from imgctl_backends.image.copy.batch import Batch
from imgctl_backends.image.copy.preparing import held_blobs
from imgctl_backends.image.distribution.listings import parse_referrals
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import EndpointDenied, EndpointFailed


@dataclass(frozen=True, slots=True)
class Seen:
    """Blobs and manifests that are there, what tags name, and referrers by their subject.

    Of manifests only those are here that were asked for and found whole.
    """

    blobs: frozenset[str] = frozenset()
    manifests: frozenset[str] = frozenset()
    tags: Mapping[str, str | None] = field(default_factory=dict)
    referrers: Mapping[str, frozenset[str]] = field(default_factory=dict)


def look(
    workers: Workers,
    flight: Flight,
    destination: Place,
    blobs: Sequence[Descriptor],
    manifests: Iterable[str],
    attachments: Sequence[Attachment],
) -> Seen:
    """Ask a destination for everything. `manifests` are read, not only asked for."""
    held = held_blobs(workers, flight, destination, blobs)
    batch = Batch()
    read = [(d, batch.add(partial(holds, flight, destination, d))) for d in set(manifests)]
    tags = {a.tag for a in attachments if a.tag}
    found = [(tag, batch.add(partial(destination.find, flight, tag))) for tag in sorted(tags)]
    subjects = {a.subject for a in attachments if not a.tag}
    listed = [(s, batch.add(partial(_listed, flight, destination, s))) for s in sorted(subjects)]
    if batch:
        batch.ask(workers, flight)
    return Seen(
        frozenset(blob.digest for blob, there in zip(blobs, held, strict=True) if there),
        frozenset(digest for digest, there in read if there()),
        {tag: digest() for tag, digest in found},
        {subject: digests() for subject, digests in listed},
    )


def holds(flight: Flight, place: Place, digest: str) -> bool:
    """Return whether a manifest is there, by reading it: its digest is computed anew."""
    found = place.read(flight, digest)
    return found is not None and matches(digest, found[0])


def _listed(flight: Flight, destination: Place, subject: str) -> frozenset[str]:
    """Return what a destination lists as a manifest's referrers.

    Where it can't be found out, nothing is: what is put a second time harms nobody.
    """
    try:
        referrals = destination.referrers(flight, subject)
        if referrals is None:
            found = destination.read(flight, fallback_tag(subject))
            if found is None:
                return frozenset()
            document = json.loads(found[0])
            if not isinstance(document, dict):
                return frozenset()
            referrals = parse_referrals(str(destination), document)
    except (EndpointDenied, EndpointFailed, ValueError, RecursionError):
        return frozenset()
    return frozenset(referral.descriptor.digest for referral in referrals)
