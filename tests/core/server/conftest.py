"""A server on a real port, with an engine, a verifier and a policy that do as told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from imgctl_core.access import Decision, Explanation
from imgctl_core.client.api import Client
from imgctl_core.client.target import Target
from imgctl_core.context import CancelToken
from imgctl_core.errors import NotAuthorized, TokenRefused
from imgctl_core.models import (
    JSON,
    Action,
    ActivationRequest,
    Actor,
    EndpointInfo,
    EnvironmentInfo,
    Failure,
    ItemProgress,
    ItemResult,
    ManifestRow,
    Outcome,
    Phase,
    PlannedItem,
    PlanReport,
    PluginInfo,
    PluginStatus,
    Progress,
    Promotion,
    PromotionRequest,
    Request,
    Step,
)
from imgctl_core.peer import NOWHERE, Peer
from imgctl_core.server.app import Server, create_server
from imgctl_core.server.binding import Binding

ACTOR = Actor(
    issuer="https://dex.example.com",
    subject="Cg5qYW5lEgNzc2g",
    name="Jane",
    email="jane@example.com",
    groups=("promoters", "staff"),
    connector="ssh",
    token_id="t-1",
    expires_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
)
DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


class FakeEngine:
    """Promotions that end when the test says so."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.requests: list[tuple[Request, Actor, Peer]] = []
        self.promotions: dict[str, Promotion] = {}
        self.cancelled: list[str] = []
        self.drained: list[float] = []
        self.watchers = 0
        self.changed = threading.Condition()
        self.hold_plan: threading.Event | None = None
        self.plan_requests: list[Request] = []
        self.plan_began = threading.Event()
        self.plan_cancelled = threading.Event()
        self.quits_early = False
        self.breaks_late: Exception | None = None
        self.rows: Iterable[ManifestRow] = ()
        self.rows_asked: list[tuple[str, Actor, str]] = []
        self.rows_cancel: CancelToken | None = None

    def start(self, request: Request, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        self._maybe_raise("start")
        if isinstance(request, ActivationRequest):
            source = destination = request.environment
        else:
            source, destination = request.source or "dev", request.destination
        with self.changed:
            self.requests.append((request, actor, peer))
            promotion = Promotion(
                id=f"pr_{len(self.requests)}",
                source=source,
                destination=destination,
                actor=actor,
                items=tuple(ItemResult(text, "image") for text in request.refs),
                started_at=datetime(2026, 1, 1, tzinfo=UTC),
                request_id=request.request_id,
                action=request.action,
            )
            self.promotions[promotion.id] = promotion
            self.changed.notify_all()
        return promotion

    def end(self, promotion_id: str, outcome: Outcome, error: Failure | None = None) -> None:
        with self.changed:
            running = self.promotions[promotion_id]
            items = tuple(
                replace(item, outcome=outcome, digest=DIGEST, bytes_copied=5, error=error)
                for item in running.items
            )
            self.promotions[promotion_id] = replace(
                running,
                items=items,
                outcome=outcome,
                ended_at=datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC),
                audit_head="ff" * 32,
            )
            self.changed.notify_all()

    def plan(
        self, request: Request, actor: Actor, cancel: CancelToken, peer: Peer = NOWHERE
    ) -> PlanReport:
        self._maybe_raise("plan")
        self.plan_requests.append(request)
        self.plan_began.set()
        while self.hold_plan is not None and not self.hold_plan.wait(0.01):
            if cancel.cancelled:
                self.plan_cancelled.set()
                from imgctl_core.errors import Cancelled

                raise Cancelled("the plan was cancelled")
        if isinstance(request, ActivationRequest):
            switch = Step("switch", "to 1.4.1")
            live = PlannedItem(
                "spa:shop:1.4.1", "spa", Outcome.ACTIVATED, DIGEST, OTHER, steps=(switch,)
            )
            ends = (request.environment, request.environment)
            return PlanReport(*ends, Outcome.ACTIVATED, (live,), Action.ACTIVATE)
        steps = tuple(Step("copy", f"layer {n}", n) for n in range(12_000))
        item = PlannedItem(
            request.refs[0], "image", Outcome.PROMOTED, DIGEST, "", 10, 20, steps=steps
        )
        bad = PlannedItem(
            "b:1", "image", Outcome.CONFLICT, error=Failure("CONFLICT", "other", "fix it", "pr_x")
        )
        return PlanReport("dev", request.destination, Outcome.CONFLICT, (item, bad))

    def export_plan(
        self, request: PromotionRequest, actor: Actor, cancel: CancelToken, peer: Peer = NOWHERE
    ) -> tuple[PlanReport, Iterator[ManifestRow]]:
        self._maybe_raise("export_plan")
        self.requests.append((request, actor, peer))
        self.rows_cancel = cancel
        return self.plan(request, actor, cancel, peer), iter(self.rows)

    def manifest(
        self, promotion_id: str, actor: Actor, ref: str = "", peer: Peer = NOWHERE
    ) -> Iterator[ManifestRow]:
        self._maybe_raise("manifest")
        self.rows_asked.append((promotion_id, actor, ref))
        return iter(self.rows)

    def get(self, promotion_id: str, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        self._maybe_raise("get")
        return self.promotions[promotion_id]

    def cancel(self, promotion_id: str, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        self.cancelled.append(promotion_id)
        return self.promotions[promotion_id]

    def watch(
        self, promotion_id: str, actor: Actor, gone: threading.Event, peer: Peer = NOWHERE
    ) -> Iterator[Progress | Promotion]:
        self._maybe_raise("watch")
        with self.changed:
            self.watchers += 1
            self.changed.notify_all()
        try:
            item = ItemProgress("app:v1", Phase.STAGE, 10, -3, 5, 1, "layer 1")
            yield Progress(Phase.STAGE, (item,))
            if self.quits_early:
                return
            if self.breaks_late is not None:
                raise self.breaks_late
            while self.promotions[promotion_id].outcome is None and not gone.wait(0.01):
                pass
            if gone.is_set():
                return
            yield Progress(Phase.DONE, ())
            yield self.promotions[promotion_id]
        finally:
            with self.changed:
                self.watchers -= 1
                self.changed.notify_all()

    def drain(self, seconds: float) -> None:
        self.drained.append(seconds)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        with self.changed:
            return self.changed.wait_for(condition, seconds)

    def _maybe_raise(self, method: str) -> None:
        if method in self.errors:
            raise self.errors[method]


class FakeCatalogue:
    def __init__(self) -> None:
        self.explained: list[PromotionRequest] = []

    def environments(self, actor: Actor) -> tuple[EnvironmentInfo, ...]:
        return (
            EnvironmentInfo("dev", (EndpointInfo("image", "r.dev"),), default_source=True),
            EnvironmentInfo("prod", (), may_promote=True, allow_replace=True),
        )

    def plugins(self) -> tuple[PluginInfo, ...]:
        return (
            PluginInfo("image", "imgctl", "1.0", PluginStatus.ACTIVE, promoters=("image",)),
            PluginInfo("x", "d", "2", PluginStatus.QUARANTINED, phase="import", error="boom"),
        )

    def destinations(self, actor: Actor) -> tuple[str, ...]:
        return ("prod",)

    def explain(self, request: PromotionRequest, actor: Actor) -> Explanation:
        self.explained.append(request)
        checks = (Decision("oidc.allowed_groups", True, "yes"), Decision("rules", False, "no", "x"))
        return Explanation(request.refs[0], request.source or "dev", request.destination, checks)


class FakeVerifier:
    """Takes `good`, and `stranger` who is in no group that counts."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.error: Exception | None = None

    def verify(self, token: str) -> Actor:
        self.seen.append(token)
        if self.error is not None:
            raise self.error
        if token == "stranger":
            return replace(ACTOR, subject="stranger", groups=())
        if token != "good":
            raise TokenRefused(f"signature mismatch in {token}", fix="a hint that tells too much")
        return ACTOR


class FakePolicy:
    def admit(self, actor: Actor) -> Actor:
        if not actor.groups:
            raise NotAuthorized("you are in no group that may use this server", fix="ask for one")
        return replace(actor, matched_group=actor.groups[0])


@dataclass
class Running:
    """A started server and what stands behind it."""

    server: Server
    engine: FakeEngine
    verifier: FakeVerifier
    events: list[tuple[str, dict[str, JSON]]]
    stack: ExitStack = field(repr=False)

    def client(self, token: str = "good", **target: Any) -> Client:
        address = target.pop("address", self.server.address)
        return self.stack.enter_context(Client(Target(address, **target), token))

    def channel(self) -> Any:
        """A channel without any of the client's manners."""
        options = [("grpc.enable_http_proxy", 0)]
        return self.stack.enter_context(grpc.insecure_channel(self.server.address, options=options))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with ExitStack() as stack:

        def start(binding: Binding | None = None, **options: Any) -> Running:
            engine, verifier = FakeEngine(), FakeVerifier()
            events: list[tuple[str, dict[str, JSON]]] = []

            def audit(event: str, fields: Mapping[str, JSON]) -> None:
                events.append((event, dict(fields)))

            options.setdefault("audit", audit)
            server = create_server(
                binding or Binding("127.0.0.1"),
                engine,
                FakeCatalogue(),
                verifier,
                FakePolicy(),
                version="1.2.3",
                **options,
            )
            server.start()
            stack.callback(server.stop, 0.0)
            return Running(server, engine, verifier, events, stack)

        yield start


@pytest.fixture
def running(serve: Callable[..., Running]) -> Running:
    return serve()


@pytest.fixture
def short_tmp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory whose path is short enough for a unix socket (107 bytes)."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="imgctl-", dir="/tmp") as name:
        yield Path(name)
