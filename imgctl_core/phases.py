"""The steps that write and prove, in their order: each is taken with every item before the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from imgctl_core.context import Context
from imgctl_core.errors import VerificationFailed
from imgctl_core.models import Phase
from imgctl_core.store import ItemRun


def _stage(item: ItemRun, context: Context) -> None:
    item.promoter.stage(item.agreed, context)


def _publish(item: ItemRun, context: Context) -> None:
    item.promoter.publish(item.agreed, context)


def _verify(item: ItemRun, context: Context) -> None:
    found = item.promoter.verify(item.agreed, context)
    if found != item.agreed.digest:
        raise VerificationFailed(
            f"{item.item.destination} now has {found or 'nothing'} instead of {item.agreed.digest}",
            fix="look who else writes there, then ask for the same again",
        )


STEPS: Final[tuple[tuple[Phase, Callable[[ItemRun, Context], None]], ...]] = (
    (Phase.STAGE, _stage),
    (Phase.PUBLISH, _publish),
    (Phase.VERIFY, _verify),
)
