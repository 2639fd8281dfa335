"""Bringing what hangs on an image. What the destination refuses stays behind, with a note."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.copy.attachments import Attachment
from imgctl_backends.image.copy.putting import ManifestPut
from imgctl_backends.image.distribution.fallback import FallbackTags
from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.faults import BlobUnknown, TagRefused
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import ArtifactNotFound, EndpointDenied, EndpointFailed
from imgctl_core.models import Plan

#: What is an answer to this attachment, and says nothing of the others.
REFUSALS = (ArtifactNotFound, EndpointFailed, EndpointDenied)


class Attach:
    """Puts the attachments of one plan, after their blobs."""

    def __init__(
        self,
        workers: Workers,
        settings: ImageSettings,
        fallback: FallbackTags,
        flight: Flight,
        destination: Place,
        put: ManifestPut,
        plan: Plan,
    ) -> None:
        self._workers = workers
        self._settings = settings
        self._fallback = fallback
        self._flight = flight
        self._destination = destination
        self._put = put
        self._plan = plan

    def run(self, attachments: Sequence[Attachment], damaged: Mapping[str, str]) -> None:
        """Put them all. `damaged` are blobs that can't be brought, and why.

        Raises:
            ImgctlError: one was refused, and the settings say that none may be.
        """
        unlisted = self._workers.ask(
            self._flight, [partial(self._one, attachment, damaged) for attachment in attachments]
        )
        by_subject = defaultdict(list)
        for attachment, left in zip(attachments, unlisted, strict=True):
            if left:
                by_subject[attachment.subject].append(attachment)
        self._workers.ask(
            self._flight,
            [partial(self._list, subject, found) for subject, found in by_subject.items()],
        )

    def _one(self, attachment: Attachment, damaged: Mapping[str, str]) -> bool:
        """Put one attachment. Returns whether a list of referrers has still to name it."""
        bad = next((b.digest for b in attachment.graph.blobs if b.digest in damaged), None)
        try:
            if bad is not None:
                self._refused(attachment, damaged[bad])
                return False
            for child in attachment.graph.manifests:
                self._put.by_digest(child.digest)
            if attachment.tag:
                self._tag(attachment)
                return False
            return not self._put.put(attachment.root.digest, attachment.root.digest)
        except TagRefused as refused:
            self._refused(attachment, refused.detail)
        except REFUSALS as error:
            self._refused(attachment, error.message)
        return False

    def _tag(self, attachment: Attachment) -> None:
        now = self._destination.find(self._flight, attachment.tag)
        if now == attachment.root.digest:
            return
        if now is not None and not self._plan.item.replace:
            self._flight.context.progress.note(kept(self._destination, attachment, now))
            return
        self._put.put(attachment.root.digest, attachment.tag)

    def _list(self, subject: str, found: list[Attachment]) -> None:
        try:
            self._fallback.add(self._flight, self._destination, subject, found)
        except (TagRefused, BlobUnknown) as refused:
            self._unlisted(found, refused.detail)
        except REFUSALS as error:
            self._unlisted(found, error.message)

    def _unlisted(self, found: list[Attachment], why: str) -> None:
        for attachment in found:
            self._refused(attachment, f"it is there, but can't be listed: {why}")

    def _refused(self, attachment: Attachment, why: str) -> None:
        report_refusal(self._settings, self._flight, self._plan.digest, attachment, why)


def report_refusal(
    settings: ImageSettings, flight: Flight, image: str, attachment: Attachment, why: str
) -> None:
    """Say that an attachment was refused.

    Raises:
        EndpointFailed: the settings want it to arrive.
    """
    text = f"{attachment} did not arrive: {why}"
    needed = settings.require_signed and attachment.signs and attachment.subject == image
    if settings.fail_on_refused or needed:
        raise EndpointFailed(
            text, fix="see why it is refused, or change fail_on_refused or require_signed"
        )
    flight.context.progress.note(text)


def kept(destination: Place, attachment: Attachment, there: str) -> str:
    """Return the note on a tag that the destination has in another form."""
    return (
        f"{destination}:{attachment.tag} is {there} there and {attachment.root.digest} at the "
        "source; it was left as it is"
    )
