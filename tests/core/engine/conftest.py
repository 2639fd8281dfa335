"""A promoter whose places are dictionaries, and an engine around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgctl_core.audit import AuditLog, read
from imgctl_core.audit.copies import Copy
from imgctl_core.auth.policy import EnvironmentRules, Policy
from imgctl_core.catalogue import Catalogue
from imgctl_core.context import Context
from imgctl_core.engine import Engine
from imgctl_core.errors import ArtifactNotFound, Conflict, InvalidReference
from imgctl_core.journal import Journal
from imgctl_core.models import (
    JSON,
    ActivationRequest,
    Actor,
    ArtifactRef,
    Plan,
    Promotion,
    PromotionEvent,
    PromotionItem,
    PromotionRequest,
)
from imgctl_core.notifier import Notifier
from imgctl_core.notify import Notifications
from imgctl_core.peer import Peer
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.promoter import NoSettings, PluginModel, Promoter
from imgctl_core.resolve import Resolver
from imgctl_core.rules import Rule
from imgctl_core.store import MemoryStore
from imgctl_core.testing import FakeEndpoint, FakeWorld


class Shelf(PluginModel):
    """An endpoint: a name of a dictionary."""

    name: str


class ShelfPromoter(Promoter[Shelf, NoSettings]):
    """Promotes `name:version`, whose digest is its text. Tests reach in through hooks."""

    kind = "image"
    family = "SHELF"
    family_field = "name"
    Endpoint = Shelf
    Settings = NoSettings

    def __init__(self, shelves: dict[str, dict[str, str]], names: dict[str, str]) -> None:
        super().__init__(NoSettings(), {env: Shelf(name=name) for env, name in names.items()})
        self.shelves = shelves
        self.calls: list[str] = []
        self.on: dict[str, Callable[[Plan | PromotionItem, Context], None]] = {}
        self.rows: Iterable[Mapping[str, JSON]] = ()

    def parse(self, text: str) -> ArtifactRef:
        name, colon, version = text.partition(":")
        if not (colon and name and version) or ":" in version:
            raise InvalidReference(f"{text!r} is no shelf reference")
        return ArtifactRef(self.kind, name, version)

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        self._note("plan", item, context)
        key = str(item.ref)
        found = self._shelf(item.source).get(key)
        if found is None:
            raise ArtifactNotFound(f"{item.source} has no {key}")
        current = self._shelf(item.destination).get(key)
        if current not in (None, found) and not item.replace:
            raise Conflict(
                f"{item.destination} holds {current} and {item.source} holds {found}",
                digest=found,
                current=current or "",
            )
        return Plan(item, found, current)

    def stage(self, plan: Plan, context: Context) -> None:
        self._note("stage", plan, context)
        context.progress.copied(10)

    def publish(self, plan: Plan, context: Context) -> None:
        self._note("publish", plan, context)
        shelf, key = self._shelf(plan.item.destination), str(plan.item.ref)
        if shelf.get(key) not in (plan.current, plan.digest):
            raise Conflict(f"{plan.item.destination} holds {shelf[key]} now, not {plan.digest}")
        shelf[key] = plan.digest

    def verify(self, plan: Plan, context: Context) -> str:
        self._note("verify", plan, context)
        return self._shelf(plan.item.destination).get(str(plan.item.ref), "")

    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        if "manifest" in self.on:
            self.on["manifest"](plan, context)
        yield from self.rows

    def _shelf(self, environment: str) -> dict[str, str]:
        return self.shelves[self.endpoints[environment].name]

    def _note(self, step: str, subject: Plan | PromotionItem, context: Context) -> None:
        self.calls.append(step)
        if step in self.on:
            self.on[step](subject, context)


class Listener(Notifier[NoSettings]):
    """Keeps what it is told."""

    kind = "listener"
    Settings = NoSettings

    def __init__(self) -> None:
        super().__init__(NoSettings())
        self.told: list[Promotion] = []
        self.heard = threading.Event()
        self.do: Callable[[], None] = lambda: None

    def notify(self, event: PromotionEvent, context: Context) -> None:
        self.do()
        self.told.append(event.promotion)
        self.heard.set()


ALICE = Actor("https://dex.example.com", "alice", "alice", "alice@example.com", ("eng",))
BOB = Actor("https://dex.example.com", "bob", "bob", "bob@example.com", ("eng",))
CAROL = Actor("https://dex.example.com", "carol", "carol", "carol@example.com", ("eng", "prod"))


class Held:
    """Holds whoever gets there until `go_on` is set; `reached` says that somebody is there."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, plan: Plan | PromotionItem, context: Context) -> None:
        self.reached.set()
        assert self.go_on.wait(30)


@dataclass
class World:
    """An engine, and everything around it that a test looks at."""

    engine: Engine
    promoter: ShelfPromoter
    listener: Listener
    audit: AuditLog
    log: Path
    journal: Journal
    policy: Policy
    catalogue: Catalogue
    shelves: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Where builds of kind `spa` lie and are live: `shop` in versions 1 and 2, in prod.
    builds: FakeWorld = field(default_factory=FakeWorld)
    alice: Actor = ALICE
    bob: Actor = BOB
    carol: Actor = CAROL

    def request(self, *refs: str, **more: object) -> PromotionRequest:
        values: dict[str, object] = {"source": "dev", "destination": "prod", **more}
        return PromotionRequest(refs=refs or ("app:v1",), **values)  # type: ignore[arg-type]

    def promote(self, *refs: str, actor: Actor | None = None, **more: object) -> Promotion:
        actor = actor or self.alice
        started = self.engine.start(self.request(*refs, **more), actor, Peer("test"))
        return self.wait(started.id, actor)

    def activation(self, ref: str = "spa:shop:1", **more: object) -> ActivationRequest:
        values: dict[str, object] = {"environment": "prod", **more}
        return ActivationRequest(ref, **values)  # type: ignore[arg-type]

    def activate(self, ref: str, actor: Actor | None = None, **more: object) -> Promotion:
        actor = actor or self.alice
        started = self.engine.start(self.activation(ref, **more), actor, Peer("test"))
        return self.wait(started.id, actor)

    def held(self, step: str) -> Held:
        """Hold the promoter in that step from now on."""
        held = self.promoter.on[step] = Held()
        return held

    def wait(self, promotion_id: str, actor: Actor | None = None) -> Promotion:
        *_, last = self.engine.watch(promotion_id, actor or self.alice, threading.Event())
        assert isinstance(last, Promotion)
        return last

    def records(self, event: str = "") -> list[dict[str, JSON]]:
        return [record for record in read(self.log) if not event or record["event"] == event]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    logs: list[AuditLog] = []

    def make(
        max_promotions: int = 8,
        promotion_seconds: float = 60.0,
        manifest_bytes: int = 1 << 20,
        copies: Sequence[Copy] = (),
        allow: tuple[Rule, ...] = (),
        **rules: EnvironmentRules,
    ) -> World:
        log = tmp_path / f"audit-{len(logs)}.jsonl"
        audit = AuditLog(log, copies=copies)
        logs.append(audit)
        shelves: dict[str, dict[str, str]] = {
            "dev": {"app:v1": "sha256:aa", "lib:v1": "sha256:bb"},
            "int": {"app:v1": "sha256:cc"},
            "prod": {},
        }
        promoter = ShelfPromoter(shelves, {name: name for name in shelves} | {"twin": "dev"})
        builds = FakeWorld()
        for version in ("1", "2"):
            builds.put("prod", "shop", version, f"build {version}".encode())
        activator_class = builds.activator_class("spa", "SPA")
        activator = activator_class(
            NoSettings(), {name: FakeEndpoint(place=name) for name in ("dev", "int", "prod")}
        )
        registry = PluginRegistry({"image": ShelfPromoter, "spa": activator_class}, {}, ())
        listener = Listener()
        environments = [*promoter.endpoints, "empty"]
        resolver = Resolver(
            {"image": promoter, "spa": activator},
            registry,
            environments=environments,
            allow_replace={name for name, rule in rules.items() if rule.allow_replace},
            default_source="",
        )
        journal = Journal(audit)
        policy = Policy(allowed_groups=["eng"], environments=rules, rules=allow)
        engine = Engine(
            resolver,
            policy,
            journal,
            Notifications({"listener": listener}),
            MemoryStore(manifest_bytes=manifest_bytes),
            max_promotions=max_promotions,
            promotion_seconds=promotion_seconds,
        )
        catalogue = Catalogue(
            {"image": promoter, "spa": activator},
            (),
            policy,
            resolver,
            environments=tuple(environments),
            default_source="",
        )
        return World(
            engine, promoter, listener, audit, log, journal, policy, catalogue, shelves, builds
        )

    yield make
    for log in logs:
        log.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
