"""What there is to do for one image: the source is read, the destination looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain

from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.content.graph import Manifests
from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.copy.attaching import kept
from imgctl_backends.image.copy.attachments import Attachment
from imgctl_backends.image.copy.discovery import Discovery, Found
from imgctl_backends.image.copy.looking import Seen, look
from imgctl_backends.image.copy.planning import Work, unpack
from imgctl_backends.image.copy.taglists import TagLists
from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import EndpointFailed, PromotionError, RequestError, VerificationFailed
from imgctl_core.models import Plan, PromotionItem


def referrers_wanted(item: PromotionItem, settings: ImageSettings) -> str:
    """Return "all", "none" or "refresh": what was asked for, else what the settings say.

    Raises:
        RequestError: what was asked for is not allowed here.
    """
    wanted = item.options.get("referrers", settings.referrers)
    if wanted == "none" and settings.require_signed:
        raise RequestError(
            "this server promotes signed images only, together with their signatures",
            fix="leave --referrers none away",
        )
    return wanted


class Survey:
    """Finds out what a plan has to do."""

    def __init__(
        self,
        workers: Workers,
        manifests: Manifests,
        tag_lists: TagLists,
        settings: ImageSettings,
    ) -> None:
        self._workers = workers
        self._manifests = manifests
        self._tag_lists = tag_lists
        self._settings = settings

    def run(
        self,
        flight: Flight,
        source: Place,
        destination: Place,
        item: PromotionItem,
        digest: str,
        current: str | None,
        *,
        lacking: bool,
    ) -> Work:
        """Return the work. `lacking` says that the destination has nothing at all.

        Raises:
            PromotionError: the image is not signed, and the settings say that it must be.
            ImgctlError: it can't be read, or not be promoted.
        """
        travel = referrers_wanted(item, self._settings) != "none"
        discovery = Discovery(self._workers, self._manifests, self._tag_lists, flight, source)
        found = discovery.run(digest, attachments=travel)
        self._report(flight, item, digest, found)
        right = current == digest
        # Where the tag is right and only referrers were asked for, the image is trusted.
        image = () if right and not item.deep else found.image.blobs
        attached = _unique(chain.from_iterable(a.graph.blobs for a in found.attachments))
        wanted = self._distributable(flight, source, _unique((*image, *attached)))
        manifests = _all_manifests(digest, found) if item.deep else ()
        seen = Seen()
        if not lacking:
            seen = look(self._workers, flight, destination, wanted, manifests, found.attachments)
        own = {blob.digest for blob in image}
        needed = [
            attachment
            for attachment in found.attachments
            if self._needed(flight, destination, item, attachment, seen, wanted)
        ]
        carried = {blob.digest for a in needed for blob in a.graph.blobs} - own
        return Work(
            self._levels(item, digest, right, found, seen),
            tuple(b for b in wanted if b.digest in own and b.digest not in seen.blobs),
            tuple(b for b in wanted if b.digest in own and b.digest in seen.blobs),
            tuple(needed),
            tuple(b for b in wanted if b.digest in carried and b.digest not in seen.blobs),
            tuple(b for b in wanted if b.digest in carried and b.digest in seen.blobs),
        )

    def _report(self, flight: Flight, item: PromotionItem, digest: str, found: Found) -> None:
        signed = any(a.signs and a.subject == digest for a in found.attachments)
        if self._settings.require_signed and not signed:
            why = f" ({'; '.join(found.left_out)})" if found.left_out else ""
            raise PromotionError(
                f"{item.ref} ({digest}) has no signature in {item.source}, and this server "
                f"promotes signed images only{why}",
                fix="sign it in the source environment, then promote it again",
            )
        for text in found.left_out:
            if self._settings.fail_on_refused:
                raise EndpointFailed(
                    f"not all that belongs to {item.ref} can be promoted: {text}",
                    fix="repair it in the source environment, or change fail_on_refused",
                )
            flight.context.progress.note(text)

    def _levels(
        self, item: PromotionItem, digest: str, right: bool, found: Found, seen: Seen
    ) -> tuple[tuple[Descriptor, ...], ...]:
        if not right:
            return found.image.levels
        if not item.deep:
            return ()
        root = Descriptor("", digest, 0)
        levels = (
            tuple(child for child in level if child.digest not in seen.manifests)
            for level in (*found.image.levels, (root,))
        )
        return tuple(level for level in levels if level)

    def _needed(
        self,
        flight: Flight,
        destination: Place,
        item: PromotionItem,
        attachment: Attachment,
        seen: Seen,
        wanted: Sequence[Descriptor],
    ) -> bool:
        root = attachment.root.digest
        if attachment.tag:
            there = seen.tags.get(attachment.tag)
            if there not in (None, root) and not item.replace:
                flight.context.progress.note(kept(destination, attachment, there or ""))
                return False
            if there != root:
                return True
        elif root not in seen.referrers.get(attachment.subject, ()):
            return True
        blobs = {blob.digest for blob in attachment.graph.blobs}
        lost = any(b.digest in blobs and b.digest not in seen.blobs for b in wanted)
        own = {root, *(child.digest for child in attachment.graph.manifests)}
        return lost or (item.deep and not own <= seen.manifests)

    def _distributable(
        self, flight: Flight, source: Place, blobs: Sequence[Descriptor]
    ) -> list[Descriptor]:
        """Leave out the layers that a source need not have, and does not."""
        foreign = [blob for blob in blobs if blob.foreign]
        held = self._workers.ask(
            flight, [partial(source.has_blob, flight, blob) for blob in foreign]
        )
        absent = {blob.digest for blob, there in zip(foreign, held, strict=True) if not there}
        return [blob for blob in blobs if blob.digest not in absent]


def check_whole(workers: Workers, flight: Flight, destination: Place, plan: Plan) -> None:
    """Look at everything of an image that was promoted.

    Raises:
        VerificationFailed: something of it is missing.
    """
    work = unpack(plan)
    blobs = (*work.missing, *work.present)
    manifests = [child.digest for level in work.levels for child in level]
    seen = look(workers, flight, destination, blobs, manifests, ())
    wanted = {*manifests, *(blob.digest for blob in blobs)}
    lost = sorted(wanted - seen.blobs - seen.manifests)
    if lost:
        raise VerificationFailed(
            f"{destination} still misses {len(lost)} parts of {plan.item.ref}, {lost[0]} first",
            fix="look at that registry's storage: it says it took them",
        )


def _all_manifests(digest: str, found: Found) -> tuple[str, ...]:
    heads = [attachment.root for attachment in found.attachments]
    below = chain.from_iterable(attachment.graph.manifests for attachment in found.attachments)
    return (digest, *(one.digest for one in (*found.image.manifests, *heads, *below)))


def _unique(blobs: Iterable[Descriptor]) -> list[Descriptor]:
    """Return every blob once, the largest first."""
    found = {blob.digest: blob for blob in blobs}
    return sorted(found.values(), key=lambda blob: (-blob.size, blob.digest))
