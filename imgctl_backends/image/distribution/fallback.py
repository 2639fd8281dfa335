"""The list of a manifest's referrers, where the registry does not keep it by itself.

An index under a tag that is made of the subject's digest (distribution-spec, "Referrers
Tag Schema"). It is changed in place: read, added to, put. Two who do that at once may lose
what one of them added, so a second look follows, and in this process one goes at a time.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from imgctl_backends.image.content.digests import sha256
from imgctl_backends.image.content.manifests import OCI_INDEX, Manifest, parse_manifest
from imgctl_backends.image.copy.attachments import Attachment, fallback_tag
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import EndpointFailed

_ROUNDS: Final = 4
_LOOK_SECONDS: Final = 0.05


class FallbackTags:
    """Adds to the lists of referrers of every destination. Safe to share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: Counter[tuple[str, str]] = Counter()
        self._locks: dict[tuple[str, str], threading.Lock] = {}

    def add(
        self, flight: Flight, destination: Place, subject: str, referrers: Iterable[Attachment]
    ) -> None:
        """Make sure that the list has these referrers; everything in it stays.

        Raises:
            EndpointFailed: something else is under that tag, or others keep undoing it.
            TagRefused: the registry does not let the tag be moved.
        """
        tag = fallback_tag(subject)
        wanted = [_entry(referrer) for referrer in referrers]
        with self._alone(flight, (str(destination), tag)):
            for _ in range(_ROUNDS):
                index = _read(flight, destination, tag)
                listed = {entry.get("digest") for entry in index["manifests"]}
                missing = [entry for entry in wanted if entry["digest"] not in listed]
                if not missing:
                    return
                index["manifests"] += missing
                destination.put_manifest(flight, tag, _manifest(index))
        raise EndpointFailed(
            f"the list of referrers {destination}:{tag} does not keep what we add",
            fix="find out who else writes it, then promote again with --referrers refresh",
        )

    @contextlib.contextmanager
    def _alone(self, flight: Flight, key: tuple[str, str]) -> Iterator[None]:
        with self._lock:
            self._users[key] += 1
            lock = self._locks.setdefault(key, threading.Lock())
        try:
            while not lock.acquire(timeout=_LOOK_SECONDS):
                flight.check()
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                self._users[key] -= 1
                if not self._users[key]:
                    del self._users[key], self._locks[key]


def _entry(referrer: Attachment) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mediaType": referrer.root.media_type,
        "digest": referrer.root.digest,
        "size": referrer.root.size,
    }
    if referrer.artifact_type:
        entry["artifactType"] = referrer.artifact_type
    if referrer.annotations:
        entry["annotations"] = dict(referrer.annotations)
    return entry


def _read(flight: Flight, destination: Place, tag: str) -> dict[str, Any]:
    found = destination.read(flight, tag)
    if found is None:
        return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    content, media_type = found
    manifest = parse_manifest(sha256(content), content, media_type)
    if manifest.media_type != OCI_INDEX:
        raise EndpointFailed(
            f"{destination}:{tag} should be a list of referrers, and is something else"
        )
    document: dict[str, Any] = json.loads(content)
    return document


def _manifest(index: dict[str, Any]) -> Manifest:
    content = json.dumps(index, separators=(",", ":")).encode()
    return Manifest(sha256(content), OCI_INDEX, content)
