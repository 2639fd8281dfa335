"""Two registries, a promoter between them, and the engine's order of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.promoter import ImagePromoter
from imgctl_core.context import CancelToken, Context, ProgressCounter
from imgctl_core.models import ItemProgress, Plan, PromotionItem
from imgctl_core.testing.registry import Registry


@dataclass
class Promoted:
    """What a whole promotion left behind. `digest` is what `verify` read."""

    plan: Plan
    digest: str
    progress: ItemProgress
    notes: tuple[str, ...] = ()


class Bench:
    """A promoter with the environments `dev` and `prod`, driven as the engine does."""

    def __init__(self, promoter: ImagePromoter) -> None:
        self.promoter = promoter

    def item(
        self,
        ref: str,
        *,
        replace: bool = False,
        source: str = "dev",
        destination: str = "prod",
        deep: bool = False,
        referrers: str = "",
    ) -> PromotionItem:
        options = {"referrers": referrers} if referrers else {}
        parsed = self.promoter.parse(ref)
        return PromotionItem(ref, parsed, source, destination, replace, deep, options)

    def plan(self, ref: str, **how: Any) -> Plan:
        return self.promoter.plan(self.item(ref, **how), Context())

    def promote(self, ref: str, *, cancel: CancelToken | None = None, **how: Any) -> Promoted:
        context = Context(progress=ProgressCounter(ref), cancel=cancel or CancelToken())
        plan = self.promoter.plan(self.item(ref, **how), context)
        if plan.unchanged:
            return Promoted(plan, plan.digest, context.progress.snapshot(), context.progress.notes)
        self.promoter.stage(plan, context)
        self.promoter.publish(plan, context)
        digest = self.promoter.verify(plan, context)
        return Promoted(plan, digest, context.progress.snapshot(), context.progress.notes)


MakeBench = Callable[..., Bench]
MakeRegistry = Callable[..., Registry]


@pytest.fixture
def make_registry() -> Iterator[MakeRegistry]:
    """Return a function that starts a registry of the kit."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Registry(**options))


@pytest.fixture
def make_bench() -> Iterator[MakeBench]:
    """Return a function from endpoints (fields or an address) to a bench."""
    with ExitStack() as stack:

        def make(
            *,
            dev: dict[str, Any] | str,
            prod: dict[str, Any] | str,
            settings: dict[str, Any] | None = None,
            **more: dict[str, Any] | str,
        ) -> Bench:
            ends = {"dev": dev, "prod": prod, **more}
            endpoints = {
                name: ImageEndpoint.model_validate(
                    {"registry": end} if isinstance(end, str) else end
                )
                for name, end in ends.items()
            }
            promoter = ImagePromoter(ImageSettings(**(settings or {})), endpoints)
            stack.callback(promoter.close)
            return Bench(promoter)

        yield make


@pytest.fixture
def dev(make_registry: MakeRegistry) -> Registry:
    return make_registry()


@pytest.fixture
def prod(make_registry: MakeRegistry) -> Registry:
    return make_registry()


@pytest.fixture
def bench(make_bench: MakeBench, dev: Registry, prod: Registry) -> Bench:
    """Return a bench between two registries that ask for nothing."""
    return make_bench(dev=dev.url, prod=prod.url)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every pause between attempts as short as its jitter can be."""
    monkeypatch.setattr("random.uniform", lambda low, high: low)
