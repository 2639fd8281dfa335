"""Promotions in flight and recently ended, behind a small interface."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from imgctl_core.context import CancelToken, ProgressCounter
from imgctl_core.manifest import Manifest
from imgctl_core.models import (
    Action,
    Actor,
    Failure,
    ItemResult,
    Outcome,
    Phase,
    Plan,
    Progress,
    Promotion,
    PromotionItem,
    PromotionRequest,
    Request,
)
from imgctl_core.peer import Peer
from imgctl_core.steps import Steps
from imgctl_core.text import is_plain

#: What the manifests of all promotions that are kept may take together, packed, in bytes:
#: those of some millions of files.
_MANIFEST_BYTES: Final = 256 * 1024 * 1024


@dataclass
class ItemRun:
    """One item on its way. Written by the thread that works on it alone."""

    promoter: Steps
    item: PromotionItem
    progress: ProgressCounter
    plan: Plan | None = None
    digest: str = ""
    current: str = ""
    outcome: Outcome | None = None
    error: Failure | None = None
    scratch: dict[str, object] = field(default_factory=dict)
    manifest: Manifest | None = None

    @property
    def agreed(self) -> Plan:
        """The plan that is carried out.

        Raises:
            RuntimeError: there is none, so nothing may be done, nor counted as done.
        """
        if self.plan is None:
            raise RuntimeError(f"{self.item.text} has no plan")
        return self.plan

    def planned(self, plan: Plan) -> None:
        """Take a plan: it comes from other people's code, and goes into records.

        Raises:
            TypeError: a digest in it is no text that people can read.
        """
        digests: tuple[object, ...] = (plan.digest, plan.current or "")
        if not all(isinstance(digest, str) and is_plain(digest) for digest in digests):
            raise TypeError("a plan's digests must be text, on one line")
        # The plan's item may name more than was typed: the version that was live before.
        self.item = plan.item
        self.plan, self.digest, self.current = plan, plan.digest, plan.current or ""

    def end(self, outcome: Outcome, error: Failure | None = None) -> None:
        self.outcome, self.error = outcome, error

    def rest(self) -> None:
        """Let go of what only the work needed: a plan can be far larger than its result."""
        self.plan = None
        self.scratch.clear()

    def result(self) -> ItemResult:
        count = self.progress.snapshot()
        return ItemResult(
            self.item.text,
            self.item.ref.kind,
            self.outcome,
            self.digest,
            count.bytes_copied,
            count.bytes_present,
            count.bytes_mounted,
            self.error,
            self.progress.notes,
            self.manifest.rows if self.manifest else 0,
            self.manifest.digest if self.manifest else "",
        )


@dataclass
class PromotionRun:
    """One promotion on its way, and after its end what became of it.

    `deadline` is the `time.monotonic()` value by which it must be published.
    """

    id: str
    request: Request
    source: str
    destination: str
    actor: Actor
    peer: Peer
    items: tuple[ItemRun, ...]
    #: Those of the actor that it took to be allowed.
    groups: tuple[str, ...] = ()
    deadline: float | None = None
    cancel: CancelToken = field(default_factory=CancelToken)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    phase: Phase = Phase.PLAN
    ended: threading.Event = field(default_factory=threading.Event)
    _last: Promotion | None = None

    @property
    def action(self) -> Action:
        return self.request.action

    @property
    def fail_fast(self) -> bool:
        """Whether one item that fails stops the others."""
        return isinstance(self.request, PromotionRequest) and self.request.fail_fast

    def enter(self, phase: Phase, items: Iterable[ItemRun]) -> None:
        self.phase = phase
        for item in items:
            item.progress.enter(phase)

    def progress(self) -> Progress:
        return Progress(self.phase, tuple(item.progress.snapshot() for item in self.items))

    def promotion(self) -> Promotion:
        """Return how it stands now, or how it ended."""
        return self._last or Promotion(
            self.id,
            self.source,
            self.destination,
            self.actor,
            tuple(item.result() for item in self.items),
            self.started_at,
            request_id=self.request.request_id,
            action=self.action,
        )

    def over(self, outcome: Outcome) -> Promotion:
        """Return how it ended, as it will be recorded and shown."""
        return replace(self.promotion(), outcome=outcome, ended_at=datetime.now(UTC))

    def close(self, promotion: Promotion) -> None:
        """Let everybody who waits see the end."""
        self.phase, self._last = Phase.DONE, promotion
        for item in self.items:
            item.rest()
        self.ended.set()

    @property
    def manifest_bytes(self) -> int:
        """What its manifests take, packed."""
        return sum(len(item.manifest.packed) for item in self.items if item.manifest)

    def drop_manifests(self) -> None:
        """Let go of its manifests; their digests stay in the result."""
        for item in self.items:
            item.manifest = None


class PromotionStore(Protocol):
    """Where promotions are kept. Safe to use from any thread."""

    def add(self, run: PromotionRun) -> None: ...

    def find(self, actor: Actor, action: Action, request_id: str) -> PromotionRun | None:
        """Return what the actor asked for under this id; nothing for an empty one."""

    def get(self, promotion_id: str) -> PromotionRun | None: ...

    def running(self) -> tuple[PromotionRun, ...]: ...


class MemoryStore:
    """Keeps what runs, and the last ones that ended.

    Of those, the latest manifests are kept as long as they fit into `manifest_bytes`.
    """

    def __init__(self, keep: int = 1000, manifest_bytes: int = _MANIFEST_BYTES) -> None:
        self._keep = keep
        self._manifest_bytes = manifest_bytes
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, PromotionRun] = OrderedDict()

    def add(self, run: PromotionRun) -> None:
        with self._lock:
            ended = [known for known in self._runs.values() if known.ended.is_set()]
            for old in ended[: max(0, len(ended) + 1 - self._keep)]:
                del self._runs[old.id]
            self._drop_manifests(ended)
            self._runs[run.id] = run

    def find(self, actor: Actor, action: Action, request_id: str) -> PromotionRun | None:
        # A deployment's own id may well be used twice, to promote and then to go live.
        wanted = (actor.issuer, actor.subject, action, request_id)
        with self._lock:
            runs = self._runs.values() if request_id else ()
            return next((run for run in runs if _asked(run) == wanted), None)

    def get(self, promotion_id: str) -> PromotionRun | None:
        with self._lock:
            return self._runs.get(promotion_id)

    def running(self) -> tuple[PromotionRun, ...]:
        with self._lock:
            return tuple(run for run in self._runs.values() if not run.ended.is_set())

    def _drop_manifests(self, ended: list[PromotionRun]) -> None:
        taken = 0
        for run in reversed(ended):
            taken += run.manifest_bytes
            if taken > self._manifest_bytes:
                run.drop_manifests()


def _asked(run: PromotionRun) -> tuple[str, ...]:
    """Return who asked for it and as what."""
    return (run.actor.issuer, run.actor.subject, run.action, run.request.request_id)
