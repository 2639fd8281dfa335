"""Reading manifests: from promoters, and from promotions that are over."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import ManifestNotFound
from imgctl_core.manifest import Manifest, line
from imgctl_core.models import ManifestRow, Outcome
from imgctl_core.store import ItemRun, PromotionRun
from imgctl_core.suggest import nearest

_LOG = logging.getLogger("imgctl.engine")


def keep(run: PromotionRun) -> None:
    """Make the manifest of every item that is at its destination now.

    What is there is there: a manifest that can't be made is a note, and changes no
    outcome.
    """
    for item in run.items:
        if item.plan is None or item.outcome not in (Outcome.PROMOTED, Outcome.UNCHANGED):
            continue
        # A cancel that comes now is too late for the artifact, so for its manifest, too.
        context = Context(run.id, item.progress, CancelToken(), scratch=item.scratch)
        try:
            item.manifest = Manifest.of(item.promoter.manifest(item.plan, context))
        except Exception as error:  # noqa: BLE001 - a promoter's bug must not undo its work
            item.progress.note("there is no manifest of it: the server's log says why")
            _LOG.error("%s: no manifest of %s", run.id, item.item.text, exc_info=error)


def planned(run: PromotionRun, cancel: CancelToken) -> Iterator[ManifestRow]:
    """Yield the rows of what every plan of a run would do.

    Raises:
        Cancelled: nobody wants them any more.
    """
    for item in run.items:
        context = Context(run.id, item.progress, cancel, scratch=item.scratch)
        context.check()
        if item.plan is None:
            continue
        for row in item.promoter.manifest(item.plan, context):
            context.check()
            yield ManifestRow(item.item.text, line(row))


def kept(run: PromotionRun, ref: str = "") -> Iterator[ManifestRow]:
    """Return the rows of what a promotion left at its destination; of one item, or of all.

    Raises:
        ManifestNotFound: it has not ended, has no such item, or no manifest of it.
    """
    if not run.ended.is_set():
        raise ManifestNotFound(
            f"promotion {run.id} has not ended, and its manifest is made at the end",
            fix=f"wait for it with `imgctl watch {run.id}`",
        )
    asked = [item for item in run.items if ref in ("", item.item.text)]
    if not asked:
        raise ManifestNotFound(
            f"promotion {run.id} has no item {ref!r}",
            fix=nearest(ref, (item.item.text for item in run.items)),
        )
    found = [(item.item.text, item.manifest) for item in asked if item.manifest is not None]
    if not found:
        raise _none(run, asked)
    return _lines(found)


def _lines(found: Iterable[tuple[str, Manifest]]) -> Iterator[ManifestRow]:
    for text, manifest in found:
        for json in manifest.lines():
            yield ManifestRow(text, json)


def _none(run: PromotionRun, asked: Sequence[ItemRun]) -> ManifestNotFound:
    """Say why none of these items has a manifest."""
    shown = ", ".join(item.item.text for item in asked)
    if not any(item.outcome is not None and item.outcome.good for item in asked):
        return ManifestNotFound(
            f"{shown} did not get to {run.destination}, so there is no manifest",
            fix=f"`imgctl watch {run.id}` says why",
        )
    texts = {item.item.text for item in asked}
    if any(item.manifest_rows for item in run.promotion().items if item.text in texts):
        return ManifestNotFound(
            f"the server no longer keeps the manifest of {shown}",
            fix="its digest is in the audit log; `imgctl promote … --plan --plan-out FILE` lists "
            "what a promotion would find now",
        )
    return ManifestNotFound(
        f"there is no manifest of {shown}",
        fix=f"its kind lists no parts, or `imgctl watch {run.id}` notes what went wrong",
    )
