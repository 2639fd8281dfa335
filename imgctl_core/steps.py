"""What the engine does with one item: a promoter's steps, or an activator's in their shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from imgctl_core.activator import Activator
from imgctl_core.context import Context
from imgctl_core.errors import Conflict
from imgctl_core.models import JSON, Plan, PromotionItem


class Steps(Protocol):
    """The work on one item, in the order in which the engine does it. Promoters have it."""

    def plan(self, item: PromotionItem, context: Context) -> Plan: ...

    def stage(self, plan: Plan, context: Context) -> None: ...

    def publish(self, plan: Plan, context: Context) -> None: ...

    def verify(self, plan: Plan, context: Context) -> str: ...

    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]: ...


class ActivationSteps:
    """The work of making one artifact live. Made for one item of one promotion.

    Which version was live before is found out once, by the first plan, as a tag becomes a
    digest once: two people who go back at the same time must not go back twice.
    """

    def __init__(self, activator: Activator) -> None:
        self._activator = activator
        self._found: Plan | None = None

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        """Plan the switch.

        Raises:
            Conflict: something else went live since the version before it was found out.
        """
        plan = self._activator.plan_activation(item, context)
        if item.ref.version is None:
            ref = plan.item.ref
            plan = replace(plan, item=replace(plan.item, text=f"{ref.kind}:{ref}"))
            self._found = plan
        elif self._found is not None and plan.current not in (self._found.current, plan.digest):
            raise Conflict(
                f"{item.destination} has {plan.current or 'nothing'} live by now, and"
                f" {item.text} is the version before {self._found.current or 'nothing'}",
                fix="look what is live now, then ask again",
                digest=plan.digest,
                current=plan.current or "",
            )
        return plan

    def stage(self, plan: Plan, context: Context) -> None:
        """Do nothing: what goes live is in its environment already."""

    def publish(self, plan: Plan, context: Context) -> None:
        self._activator.activate(plan, context)

    def verify(self, plan: Plan, context: Context) -> str:
        return self._activator.verify_activation(plan, context)

    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        """Yield nothing: what it consists of was recorded when it was promoted."""
        yield from ()
