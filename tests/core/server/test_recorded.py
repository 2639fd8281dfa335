"""Every way through every method leaves the records that it must, and no others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.audit import AuditLog, read, verify
from imgctl_core.auth.policy import EnvironmentRules, Policy
from imgctl_core.context import Context
from imgctl_core.engine import Engine
from imgctl_core.errors import TokenRefused
from imgctl_core.journal import Journal
from imgctl_core.models import Actor
from imgctl_core.notify import Notifications
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.promoter import NoSettings
from imgctl_core.resolve import Resolver
from imgctl_core.server.app import create_server
from imgctl_core.server.binding import Binding
from imgctl_core.store import MemoryStore
from imgctl_core.testing import FakeEndpoint, FakeWorld

_ISSUER = "https://dex.example.com"
ACTORS = {
    "alice": Actor(_ISSUER, "alice", groups=("eng", "ops")),
    "bob": Actor(_ISSUER, "bob", groups=("eng",)),
    "stranger": Actor(_ISSUER, "stranger", groups=("sales",)),
}


class Tokens:
    def verify(self, token: str) -> Actor:
        if token not in ACTORS:
            raise TokenRefused("no")
        return replace(ACTORS[token])


class Nothing:
    """A catalogue of nothing: lists are empty, whatever is asked."""

    def __getattr__(self, name: str) -> Callable[..., tuple[()]]:
        return lambda *_, **__: ()


class Live:
    """A server with a real engine, a real log and a world that tests reach into."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = FakeWorld()
        self.world.put("dev", "app", "v1", b"one")
        for version in ("1", "2"):
            self.world.put("prod", "app", version, version.encode())
        cls = self.world.activator_class("image", "IMAGE")
        promoter = cls(
            NoSettings(), {name: FakeEndpoint(place=name) for name in ("dev", "int", "prod")}
        )
        registry = PluginRegistry({"image": cls}, {}, ())
        self.audit = AuditLog(path)
        journal = Journal(self.audit)
        policy = Policy(
            allowed_groups=["eng"],
            environments={"prod": EnvironmentRules(allowed_groups=("ops",))},
        )
        environments = ("dev", "int", "prod")
        resolver = Resolver(
            {"image": promoter}, registry, environments=environments, allow_replace=set(),
            default_source="dev",
        )  # fmt: skip
        engine = Engine(
            resolver, policy, journal, Notifications({}), MemoryStore(), max_promotions=4
        )
        nothing: Any = Nothing()
        self.server = create_server(
            Binding("127.0.0.1"), engine, nothing, Tokens(), policy, audit=self.audit.record
        )
        self.server.start()
        self.engine = engine
        #: Set once a promotion is held in its staging, see `held`.
        self.staging = threading.Event()
        self.channel: Any = grpc.insecure_channel(
            self.server.address, options=[("grpc.enable_http_proxy", 0)]
        )
        self.stub: Any = imgctl_pb2_grpc.ImgCtlStub(self.channel)

    def close(self) -> None:
        self.channel.close()
        self.server.stop(0.0)
        self.engine.drain(5)
        self.audit.close()

    def call(self, method: str, token: str = "alice", timeout: float = 20, **fields: Any) -> Any:
        """Return the answer, the last one of a stream, or the code of the refusal."""
        request = getattr(pb, f"{method}Request")(**fields)
        metadata = [("authorization", f"Bearer {token}")] if token else []
        try:
            answer = getattr(self.stub, method)(request, metadata=metadata, timeout=timeout)
            if hasattr(answer, "__next__"):
                *_, answer = answer
        except grpc.RpcError as error:
            return error.code()
        return answer

    def events(self) -> list[str]:
        return [str(record["event"]) for record in read(self.path)]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    live = Live(tmp_path / "audit.jsonl")
    yield live
    live.close()
    assert verify(live.path).problems == ()


PROMOTE: dict[str, Any] = {"ref": "app:v1", "destination": "prod"}
SEVERAL: dict[str, Any] = {"refs": ["app:v1"], "destination": "prod"}
ACTIVATE: dict[str, Any] = {"ref": "image:app:2", "environment": "prod"}
METHODS: dict[str, dict[str, Any]] = {
    "Promote": PROMOTE,
    "StartPromotion": SEVERAL,
    "WatchPromotion": {"id": "pr_1"},
    "CancelPromotion": {"id": "pr_1"},
    "GetPromotion": {"id": "pr_1"},
    "GetManifest": {"id": "pr_1"},
    "PlanPromotion": SEVERAL,
    "ExportPlan": SEVERAL,
    "StartActivation": ACTIVATE,
    "PlanActivation": ACTIVATE,
    "AuthCheck": {},
    "ListEnvironments": {},
    "ListPlugins": {},
}


def test_the_table_has_every_method() -> None:
    assert set(METHODS) == set(pb.DESCRIPTOR.services_by_name["ImgCtl"].methods_by_name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("token", "event"), [("", "authn.denied"), ("forged", "authn.denied"),
                         ("stranger", "authz.denied")],
)  # fmt: skip
def test_at_the_door(live: Live, method: str, token: str, event: str) -> None:
    live.call(method, token, **METHODS[method])
    assert live.events() == [event]
    (record,) = read(live.path)
    assert record["method"] == f"/imgctl.v1.ImgCtl/{method}"
    assert (record["protected"], str(record["peer"])[:10]) == (True, "127.0.0.1:")
    assert live.world.calls == []


@pytest.mark.parametrize(
    "method",
    ["Promote", "StartPromotion", "PlanPromotion", "ExportPlan", "StartActivation",
     "PlanActivation"],
)  # fmt: skip
def test_what_is_not_theirs_to_do(live: Live, method: str) -> None:
    assert live.call(method, "bob", **METHODS[method]) is grpc.StatusCode.PERMISSION_DENIED
    assert live.events() == ["authz.denied"]
    assert live.world.calls == []


@pytest.mark.parametrize(
    "method", ["WatchPromotion", "GetPromotion", "CancelPromotion", "GetManifest"]
)
def test_what_is_not_theirs_to_see(live: Live, method: str) -> None:
    made = live.call("Promote", **PROMOTE).promotion.id
    before = live.events()
    assert live.call(method, "bob", id=made) is grpc.StatusCode.NOT_FOUND
    assert live.events() == [*before, "authz.denied"]
    # Their own they may see, and nobody records that.
    for looking in ("WatchPromotion", "GetPromotion"):
        assert not isinstance(live.call(looking, id=made), grpc.StatusCode)
    assert live.events() == [*before, "authz.denied"]


@pytest.mark.parametrize("method", ["ListEnvironments", "ListPlugins"])
def test_lists_are_not_recorded(live: Live, method: str) -> None:
    live.call(method)
    assert live.events() == []


def test_asking_who_one_is(live: Live) -> None:
    live.call("AuthCheck", "bob")
    assert live.events() == ["auth.checked"]


@pytest.mark.parametrize("method", ["PlanPromotion", "ExportPlan", "PlanActivation"])
def test_plans(live: Live, method: str) -> None:
    assert not isinstance(live.call(method, **METHODS[method]), grpc.StatusCode)
    assert live.events() == ["plan.made"]


def _started(live: Live, method: str) -> None:
    started = live.call(method, **METHODS[method])
    live.call("WatchPromotion", id=started.promotion.id)


def test_promoting_and_activating(live: Live) -> None:
    live.call("Promote", **PROMOTE)
    promoted = ["promotion.requested", "promotion.promoted"]
    assert live.events() == promoted
    _started(live, "StartPromotion")
    assert live.events() == [*promoted, "promotion.unchanged"]
    _started(live, "StartActivation")
    assert live.events()[3:] == ["promotion.requested", "promotion.activated"]


def test_a_conflict_and_an_absence(live: Live) -> None:
    live.world.put("prod", "app", "v1", b"other")
    assert live.call("Promote", **PROMOTE) is grpc.StatusCode.ALREADY_EXISTS
    assert live.call("Promote", ref="app:v9", destination="prod") is grpc.StatusCode.NOT_FOUND
    assert live.events() == ["promotion.conflict", "promotion.failed"]


def _crash(step: str, context: Context) -> None:
    if step == "stage":
        raise RuntimeError("a bug of the plugin")


def test_a_plugin_that_crashes(live: Live) -> None:
    live.world.hooks.append(_crash)
    assert live.call("Promote", **PROMOTE) is grpc.StatusCode.INTERNAL
    assert live.events() == ["promotion.requested", "promotion.failed"]


@pytest.fixture
def held(live: Live) -> Iterator[Callable[[], None]]:
    """Hold promotions in their staging; return what lets them go on."""
    go_on = threading.Event()

    def hold(step: str, context: Context) -> None:
        if step == "stage":
            live.staging.set()
            while not (go_on.wait(0.01) or context.cancel.cancelled):
                pass
            context.check()

    live.world.hooks.append(hold)
    yield go_on.set
    go_on.set()


def test_a_cancelled_one(live: Live, held: Callable[[], None]) -> None:
    started = live.call("StartPromotion", **SEVERAL).promotion.id
    assert live.staging.wait(10)
    live.call("CancelPromotion", id=started)
    live.call("WatchPromotion", id=started)
    assert live.events() == [
        "promotion.requested",
        "promotion.cancel_requested",
        "promotion.cancelled",
    ]


def test_a_caller_whose_time_is_up(live: Live, held: Callable[[], None]) -> None:
    """The deadline is the call's: the promotion goes on, and so do its records."""
    future = live.stub.Promote.future(
        pb.PromoteRequest(**PROMOTE), metadata=[("authorization", "Bearer alice")], timeout=30
    )
    assert live.staging.wait(10)
    future.cancel()
    held()
    (running,) = live.engine._store.running() or (None,)
    if running is not None:
        assert running.ended.wait(10)
    assert live.events() == ["promotion.requested", "promotion.promoted"]
