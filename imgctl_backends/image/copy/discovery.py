"""Finding everything that an image consists of, and everything that hangs on it.

The source is asked in rounds: what a round finds is read in the next one, all of it at
once. So an image without attachments takes as many rounds as it has levels, and what
hangs on it one or two more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.content.graph import DEEPEST, Graph, Manifests, order, too_deep
from imgctl_backends.image.content.manifests import INDEXES, MANIFESTS, Descriptor, Manifest
from imgctl_backends.image.copy.attachments import Attachment, cosign_tags, fallback_tag, shown
from imgctl_backends.image.copy.batch import Batch
from imgctl_backends.image.copy.taglists import TagLists
from imgctl_backends.image.distribution.listings import Referral, parse_referrals
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.flight import Flight
from imgctl_core.errors import ArtifactNotFound, EndpointDenied, EndpointFailed

_MOST_MANIFESTS: Final = 10_000
_MOST_ATTACHMENTS: Final = 1_000

#: A signature on a signature on a signature …: nobody means that.
_MOST_ROUNDS: Final = 2 * DEEPEST

#: What one part of an attachment can go wrong with, so that it stays behind.
_DAMAGE = (ArtifactNotFound, EndpointFailed, EndpointDenied)


@dataclass(frozen=True, slots=True)
class Found:
    """An image and what hangs on it. `left_out` says what was found and can't travel."""

    image: Graph
    attachments: tuple[Attachment, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass
class _Known:
    """What the rounds have found so far."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    attachments: dict[tuple[str, str, str], Attachment] = field(default_factory=dict)
    left_out: dict[str, None] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    looked: set[str] = field(default_factory=set)
    tags: frozenset[str] | None = None
    api: bool = True

    def tried(self, digest: str, answer: Manifest | str) -> None:
        if isinstance(answer, str):
            self.damaged[digest] = answer
        else:
            self.manifests[digest] = answer

    def reached(self, *roots: str) -> list[str]:
        """Return all manifests that are known to be there, read or not."""
        seen: dict[str, None] = {}
        waiting = [*roots, *(head.root.digest for head in self.attachments.values())]
        while waiting:
            digest = waiting.pop()
            if digest in seen or (digest in self.damaged and digest not in roots):
                continue
            seen[digest] = None
            manifest = self.manifests.get(digest)
            waiting += [child.digest for child in manifest.children] if manifest else ()
        return list(seen)

    def unread(self, root: str) -> tuple[list[str], list[str]]:
        """Return what is still to be read: of the image, and of what hangs on it."""
        of_image = _Known(self.manifests).reached(root)
        parts = [digest for digest in of_image if digest not in self.manifests]
        others = [d for d in self.reached() if d not in self.manifests and d not in parts]
        return parts, others


class Discovery:
    """Looks at one source repository for one plan."""

    def __init__(
        self,
        workers: Workers,
        manifests: Manifests,
        tag_lists: TagLists,
        flight: Flight,
        source: Place,
    ) -> None:
        self._workers = workers
        self._manifests = manifests
        self._tag_lists = tag_lists
        self._flight = flight
        self._source = source

    def run(self, root: str, *, attachments: bool) -> Found:
        """Read the image, and with `attachments` all that hangs on it.

        Raises:
            ArtifactNotFound: an index names a manifest that the source does not have.
            EndpointFailed: the image nests too deep, or too much hangs on it.
        """
        known = _Known()
        for round_ in range(_MOST_ROUNDS + 1):
            parts, others = known.unread(root)
            if parts and round_ > DEEPEST:
                raise too_deep(root)
            batch = Batch()
            read = [(d, batch.add(partial(self._read, d))) for d in parts]
            tried = [(d, batch.add(partial(self._try, d))) for d in others]
            subjects = known.reached(root) if attachments else []
            listed = [
                (d, batch.add(partial(self._referrers, d)))
                for d in subjects
                if known.api and d not in known.asked
            ]
            known.asked.update(subjects)
            # The list of tags comes with the first round; what is in it, with the next.
            tags = batch.add(self._tags) if attachments and round_ == 0 else None
            looked = [
                (d, tag, batch.add(partial(self._look, tag)))
                for d in (subjects if round_ else ())
                if d not in known.looked
                for tag in (fallback_tag(d), *cosign_tags(d))
                if known.tags is None or tag in known.tags
            ]
            known.looked.update(subjects if round_ else ())
            if not batch:
                return self._result(known, root)
            batch.ask(self._workers, self._flight)
            known.manifests.update((d, answer()) for d, answer in read)
            for d, manifest in tried:
                known.tried(d, manifest())
            for d, referrals in listed:
                self._note_list(known, d, referrals())
            if tags is not None:
                self._note_tags(known, tags())
            for d, tag, found in looked:
                self._note_tag(known, d, tag, found())
            if len(known.manifests) > _MOST_MANIFESTS:
                raise EndpointFailed(f"the image {root} has too many manifests to be promoted")
            if len(known.attachments) > _MOST_ATTACHMENTS:
                break
        raise EndpointFailed(
            f"too many signatures and other referrers hang on the image {root} in {self._source}",
            fix="promote it without them: --referrers none",
        )

    def _read(self, digest: str) -> Manifest:
        return self._manifests.read(self._flight, self._source, digest)

    def _try(self, digest: str) -> Manifest | str:
        try:
            return self._read(digest)
        except _DAMAGE as error:
            return error.message

    def _referrers(self, digest: str) -> tuple[Referral, ...] | str | None:
        try:
            return self._source.referrers(self._flight, digest)
        except EndpointDenied as error:
            return error.message

    def _tags(self) -> frozenset[str] | str | None:
        try:
            return self._tag_lists.read(self._flight, self._source)
        except EndpointDenied as error:
            return error.message

    def _look(self, tag: str) -> Manifest | str | None:
        try:
            return self._manifests.at(self._flight, self._source, tag)
        except _DAMAGE as error:
            return error.message

    def _note_list(
        self, known: _Known, subject: str, answer: tuple[Referral, ...] | str | None
    ) -> None:
        if answer is None:
            known.api = False
        elif isinstance(answer, str):
            known.left_out[f"whether something refers to {subject} is unknown: {answer}"] = None
        else:
            for referral in answer:
                self._refer(known, subject, referral)

    def _note_tags(self, known: _Known, answer: frozenset[str] | str | None) -> None:
        if isinstance(answer, str):
            known.left_out[f"the tags of {self._source} are unknown: {answer}"] = None
            answer = frozenset()
        known.tags = answer

    def _note_tag(
        self, known: _Known, subject: str, tag: str, answer: Manifest | str | None
    ) -> None:
        if isinstance(answer, str):
            known.left_out[f"the tag {tag} is left out: {answer}"] = None
        elif answer is None:
            return
        elif tag == fallback_tag(subject):
            try:
                for referral in parse_referrals(str(self._source), json.loads(answer.content)):
                    self._refer(known, subject, referral)
            except EndpointFailed as error:
                known.left_out[f"the tag {tag} is left out: {error.message}"] = None
        else:
            known.manifests[answer.digest] = answer
            descriptor = Descriptor(answer.media_type, answer.digest, len(answer.content))
            known.attachments[answer.digest, subject, tag] = Attachment(descriptor, subject, tag)

    def _refer(self, known: _Known, subject: str, referral: Referral) -> None:
        head = referral.descriptor
        attachment = Attachment(head, subject, "", "", referral.annotations)
        known.attachments.setdefault((head.digest, subject, ""), attachment)
        if head.media_type not in MANIFESTS | INDEXES:
            known.damaged.setdefault(head.digest, f"we can't copy {shown(head.media_type)}")

    def _result(self, known: _Known, root: str) -> Found:
        image = order(known.manifests, root)
        if image is None:
            raise AssertionError("the rounds end when all of the image is read")
        whole = []
        for attachment in known.attachments.values():
            made = self._whole(known, attachment)
            if isinstance(made, Attachment):
                whole.append(made)
            else:
                known.left_out[f"{attachment} is left out: {made}"] = None
        return Found(image, tuple(whole), tuple(known.left_out))

    def _whole(self, known: _Known, attachment: Attachment) -> Attachment | str:
        digest = attachment.root.digest
        manifest = known.manifests.get(digest)
        if manifest is None:
            return known.damaged.get(digest, "it was not read")
        if not attachment.tag and manifest.subject != attachment.subject:
            return "its manifest says that it refers to something else"
        try:
            graph = order(known.manifests, digest)
        except EndpointFailed as error:
            return error.message
        if graph is None:
            return "a part of it can't be read"
        return Attachment(
            Descriptor(manifest.media_type, digest, len(manifest.content)),
            attachment.subject,
            attachment.tag,
            manifest.artifact_type,
            {**attachment.annotations, **manifest.annotations},
            graph,
        )
