"""Plans of image promotions: how they are made, read again, and refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imgctl_backends.image.content.graph import Graph
from imgctl_backends.image.content.manifests import Descriptor, texts
from imgctl_backends.image.copy.attachments import Attachment
from imgctl_backends.image.places import Place
from imgctl_backends.image.wire.faults import TagRefused
from imgctl_core.errors import Conflict, EndpointFailed
from imgctl_core.models import JSON, Plan, PromotionItem, Step


def published_as(item: PromotionItem) -> str:
    """Return under what the image is published: its tag, else its digest."""
    return item.ref.version or item.ref.digest or ""


def conflict(item: PromotionItem, destination: Place, digest: str, current: str) -> Conflict:
    return Conflict(
        f"{destination}:{item.ref.version} in {item.destination} is {current} already; "
        f"{item.source} has {digest}",
        fix="promote it under another tag, or use --on-conflict replace where the environment "
        "allows it",
        digest=digest,
        current=current,
    )


def immutable_tag(
    plan: Plan, destination: Place, now: str | None, refused: TagRefused
) -> Conflict | EndpointFailed:
    if now is None:
        return EndpointFailed(
            f"the registry {destination.registry} does not accept the tag "
            f"{plan.item.ref.version} ({refused.detail})"
        )
    return Conflict(
        f"{destination}:{plan.item.ref.version} in {plan.item.destination} is immutable and is "
        f"{now}; {plan.item.source} has {plan.digest}",
        fix="promote it under another tag",
        digest=plan.digest,
        current=now,
    )


@dataclass(frozen=True, slots=True)
class Work:
    """What a plan has to do, as its data says it.

    `optional` are blobs that only attachments need.
    """

    levels: tuple[tuple[Descriptor, ...], ...] = ()
    missing: tuple[Descriptor, ...] = ()
    present: tuple[Descriptor, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    optional: tuple[Descriptor, ...] = ()
    optional_present: tuple[Descriptor, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.levels or self.missing or self.attachments)


def make_plan(
    item: PromotionItem, destination: Place, digest: str, current: str | None, work: Work
) -> Plan:
    """Return the plan. One that has nothing to do but its tag is right is unchanged."""
    missing, present = (*work.missing, *work.optional), (*work.present, *work.optional_present)
    to_copy, there = sum(blob.size for blob in missing), sum(blob.size for blob in present)
    steps = []
    if missing:
        steps.append(
            Step("copy", f"{len(missing)} of {len(missing) + len(present)} blobs", to_copy)
        )
    children = sum(len(level) for level in work.levels)
    if children:
        steps.append(Step("put", f"{children} manifests of the index"))
    steps += [Step("attach", str(attachment)) for attachment in work.attachments]
    if current != digest:
        action = "put" if current is None else "replace"
        named = f"@{digest}" if item.ref.version is None else f":{item.ref.version}"
        steps.append(Step(action, f"{destination}{named}"))
    data: dict[str, JSON] = {
        "levels": _levels(work.levels),
        "missing": _list(work.missing),
        "present": _list(work.present),
    }
    if work.attachments:
        data["attachments"] = [_attachment_to_json(one) for one in work.attachments]
        data["optional"] = _list(work.optional)
        data["optional_present"] = _list(work.optional_present)
    return Plan(
        item,
        digest,
        current,
        complete=current != digest or work.empty,
        bytes_to_copy=to_copy,
        bytes_present=there,
        steps=tuple(steps),
        data=data,
    )


def unpack(plan: Plan) -> Work:
    """Return what a plan has to do.

    Raises:
        ValueError: its data is not what we wrote.
    """
    data = plan.data
    attachments = data.get("attachments", [])
    if not isinstance(attachments, list):
        raise ValueError("no list of attachments")
    return Work(
        _read_levels(data.get("levels", [])),
        _read_list(data.get("missing", [])),
        _read_list(data.get("present", [])),
        tuple(_attachment_from_json(one) for one in attachments),
        _read_list(data.get("optional", [])),
        _read_list(data.get("optional_present", [])),
    )


def _list(descriptors: Iterable[Descriptor]) -> list[JSON]:
    return [_to_json(one) for one in descriptors]


def _levels(levels: Iterable[Iterable[Descriptor]]) -> list[JSON]:
    return [_list(level) for level in levels]


def _read_list(data: JSON) -> tuple[Descriptor, ...]:
    if not isinstance(data, list):
        raise ValueError("no list of descriptors")
    return tuple(_from_json(entry) for entry in data)


def _read_levels(data: JSON) -> tuple[tuple[Descriptor, ...], ...]:
    if not isinstance(data, list):
        raise ValueError("no list of levels")
    return tuple(_read_list(level) for level in data)


def _attachment_to_json(attachment: Attachment) -> JSON:
    return {
        **_to_json(attachment.root),
        "subject": attachment.subject,
        "tag": attachment.tag,
        "artifact_type": attachment.artifact_type,
        "annotations": dict(attachment.annotations),
        "levels": _levels(attachment.graph.levels),
        "blobs": _list(attachment.graph.blobs),
    }


def _attachment_from_json(data: JSON) -> Attachment:
    if isinstance(data, Mapping):
        subject, tag, kind = data.get("subject"), data.get("tag"), data.get("artifact_type")
        said = data.get("annotations")
        if isinstance(subject, str) and isinstance(tag, str) and isinstance(kind, str):
            graph = Graph(_read_levels(data.get("levels")), _read_list(data.get("blobs")))
            return Attachment(_from_json(data), subject, tag, kind, texts(said), graph)
    raise ValueError("no attachment")


def _to_json(descriptor: Descriptor) -> dict[str, JSON]:
    return {
        "media_type": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }


def _from_json(data: JSON) -> Descriptor:
    """Return what `_to_json` was given.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(data, Mapping):
        media_type, digest, size = data.get("media_type"), data.get("digest"), data.get("size")
        if isinstance(media_type, str) and isinstance(digest, str) and isinstance(size, int):
            return Descriptor(media_type, digest, size)
    raise ValueError("no descriptor")
