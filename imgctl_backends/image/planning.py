"""Plans of image promotions: how they are made, read again, and refused."""

from __future__ import annotations

from collections.abc import Mapping

from imgctl_backends.image.faults import TagRefused
from imgctl_backends.image.graph import Graph
from imgctl_backends.image.manifests import Descriptor
from imgctl_backends.image.places import Place
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


def make_plan(
    item: PromotionItem,
    destination: Place,
    digest: str,
    current: str | None,
    graph: Graph,
    blobs: list[tuple[Descriptor, bool]],
) -> Plan:
    missing = [blob for blob, there in blobs if not there]
    present = [blob for blob, there in blobs if there]
    to_copy, there = sum(blob.size for blob in missing), sum(blob.size for blob in present)
    steps = []
    if missing:
        steps.append(Step("copy", f"{len(missing)} of {len(blobs)} blobs", to_copy))
    children = sum(len(level) for level in graph.levels)
    if children:
        steps.append(Step("put", f"{children} manifests of the index"))
    action = "put" if current is None else "replace"
    named = f"@{digest}" if item.ref.version is None else f":{item.ref.version}"
    steps.append(Step(action, f"{destination}{named}"))
    data: dict[str, JSON] = {
        "levels": [[_to_json(child) for child in level] for level in graph.levels],
        "missing": [_to_json(blob) for blob in missing],
        "present": [_to_json(blob) for blob in present],
    }
    return Plan(
        item,
        digest,
        current,
        bytes_to_copy=to_copy,
        bytes_present=there,
        steps=tuple(steps),
        data=data,
    )


def unpack(
    plan: Plan,
) -> tuple[list[list[Descriptor]], list[Descriptor], list[Descriptor]]:
    def descriptors(data: JSON) -> list[Descriptor]:
        if not isinstance(data, list):
            raise ValueError("no list of descriptors")
        return [_from_json(entry) for entry in data]

    levels = plan.data.get("levels", [])
    if not isinstance(levels, list):
        raise ValueError("no list of levels")
    return (
        [descriptors(level) for level in levels],
        descriptors(plan.data.get("missing", [])),
        descriptors(plan.data.get("present", [])),
    )


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
