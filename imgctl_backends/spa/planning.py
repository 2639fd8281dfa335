"""A plan as data, for people, and row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from imgctl_backends.spa.manifest import File, digest, to_rows
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.compare import Comparison
from imgctl_backends.spa.reading.listing import Listing
from imgctl_backends.spa.trail import Trail
from imgctl_backends.spa.transfer import count
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_core import Plan, PromotionItem, Step
from imgctl_core.models import JSON

#: More files than anybody reads: the assets among them become one line of the plan.
_MOST_STEPS: Final = 1000


def make_plan(
    item: PromotionItem,
    ends: tuple[Bucket, Bucket],
    listings: tuple[Listing, Listing],
    files: Sequence[File],
    seen: Comparison,
    order: Order,
) -> Plan:
    """Return the plan of bringing files, of which the destination holds what `seen` says."""
    source, destination = ends
    here, there = listings
    total = digest(files)
    copied = [*seen.missing, *(file for file, _ in seen.different)]
    return Plan(
        item=item,
        digest=total,
        current=_current(total, there, seen, order),
        bytes_to_copy=sum(file.size for file in copied),
        bytes_present=sum(file.size for file in seen.same),
        steps=_steps(seen, order),
        data={
            "source": source.place.url,
            "destination": destination.place.url,
            "markers_skipped": here.markers,
            "files_not_in_source": len(there.files) - len(seen.same) - len(seen.different),
            "files": to_rows(files),
        },
    )


def manifest_rows(trail: Trail) -> Iterator[Mapping[str, JSON]]:
    """Yield one row a file, sorted as the source lists them.

    `action` is copy, replace or present. What stands at the destination is null where it
    is not there yet, or where its server does not tell.
    """
    replaced = {file.key for file, _ in trail.seen.different} if trail.seen else set()
    for file in trail.files:
        copied = trail.written.get(file.key)
        made = copied.made if copied else None
        present = bool(file.seen) and copied is None
        yield {
            "key": file.key,
            "size": file.size,
            "action": "present" if present else "replace" if file.key in replaced else "copy",
            "source_etag": file.etag,
            "etag": file.seen or (made.etag if made else None),
            "checksum": (made.checksum if made else "") or None,
            "version_id": (made.version_id if made else "") or None,
        }


def _current(total: str, there: Listing, seen: Comparison, order: Order) -> str | None:
    """Return the digest of what people get at the destination, None when it is nothing.

    Assets alone are nothing: no entry point names them yet.
    """
    if not seen.missing and not seen.different:
        return total
    if not seen.different and not any(order.is_entry_point(file.key) for file in there.files):
        return None
    return digest(there.files)


def _steps(seen: Comparison, order: Order) -> tuple[Step, ...]:
    replaced = [Step("replace", file.key, file.size) for file, _ in seen.different]
    steps = [Step("copy", file.key, file.size) for file in seen.missing] + replaced
    if len(steps) > _MOST_STEPS:
        hidden, entries = order.split(seen.missing)
        steps = [Step("copy", file.key, file.size) for file in entries]
        steps += replaced
        steps.append(Step("copy", count(len(hidden)), sum(file.size for file in hidden)))
    return tuple(sorted(steps, key=lambda step: (order.wave(step.subject), step.subject)))
