"""The steps that write and prove, in their order: each is taken with every item before the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import VerificationFailed
from imgctl_core.models import Phase
from imgctl_core.store import ItemRun


def _stage(item: ItemRun, context: Context) -> None:
    if item.plan is not None:
        item.promoter.stage(item.plan, context)


def _publish(item: ItemRun, context: Context) -> None:
    if item.plan is not None:
        item.promoter.publish(item.plan, context)


def _verify(item: ItemRun, context: Context) -> None:
    if item.plan is not None:
        # Verification is what makes the answer true: it is not cut short by a cancel.
        found = item.promoter.verify(item.plan, replace(context, cancel=CancelToken()))
        if found != item.plan.digest:
            raise VerificationFailed(
                f"{item.item.destination} now has {found or 'nothing'} instead of "
                f"{item.plan.digest}",
                fix="look who else writes there, then ask for the same again",
            )


STEPS: Final[tuple[tuple[Phase, Callable[[ItemRun, Context], None]], ...]] = (
    (Phase.STAGE, _stage),
    (Phase.PUBLISH, _publish),
    (Phase.VERIFY, _verify),
)
