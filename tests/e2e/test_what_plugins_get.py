"""What a plugin is handed: checked, frozen records, and nothing that lets it be somebody."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, ClassVar

import pytest

from imgctl_core import ArtifactRef, Context, NoSettings, Plan, PromotionItem
from imgctl_core.client.api import Client
from imgctl_core.client.login import LoginSettings, login
from imgctl_core.client.target import Target
from imgctl_core.errors import InvalidReference, RequestError
from imgctl_core.models import Outcome, PromotionEvent, PromotionRequest
from imgctl_core.notifier import Notifier
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.promoter import Promoter
from imgctl_core.server.assemble import Plugins, assemble
from imgctl_core.server.run import server_of
from imgctl_core.settings import load_settings
from imgctl_core.testing.issuer import Issuer, User

DIGEST = "sha256:" + "0a" * 32
SECRET = "s3cret-of-the-client"


class Nosy(Promoter[NoSettings, NoSettings]):
    """Keeps all that it is handed, and what it can see of the call that it serves."""

    kind = "note"
    Endpoint = Settings = NoSettings
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"how": ("well",)}

    def __init__(self) -> None:
        super().__init__(NoSettings(), {"dev": NoSettings(), "prod": NoSettings()})
        self.handed: list[object] = []
        self.parsed: list[str] = []

    def same(self, one: NoSettings, other: NoSettings) -> bool:
        return False

    def parse(self, text: str) -> ArtifactRef:
        self.parsed.append(text)
        name, colon, version = text.partition(":")
        if not colon:
            raise InvalidReference("no note")
        return ArtifactRef(self.kind, name, version)

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        self._keep(item, context)
        return Plan(item, DIGEST)

    def stage(self, plan: Plan, context: Context) -> None:
        self._keep(plan, context)

    def publish(self, plan: Plan, context: Context) -> None:
        self._keep(plan, context)

    def verify(self, plan: Plan, context: Context) -> str:
        self._keep(plan, context)
        return DIGEST

    def _keep(self, *handed: object) -> None:
        self.handed += [*handed, list(contextvars.copy_context().values())]


class Gossip(Notifier[NoSettings]):
    kind = "gossip"
    Settings = NoSettings

    def __init__(self) -> None:
        super().__init__(NoSettings())
        self.handed: list[object] = []
        self.told = threading.Event()

    def notify(self, event: PromotionEvent, context: Context) -> None:
        self.handed += [event, context, list(contextvars.copy_context().values())]
        self.told.set()


def texts(value: object, seen: set[int]) -> Iterator[str]:
    """Yield every text that can be reached from a value, by attributes, items and closures."""
    if id(value) in seen or isinstance(value, type | ModuleType):
        return
    seen.add(id(value))
    if isinstance(value, str | bytes):
        yield value if isinstance(value, str) else value.decode("latin-1")
    elif isinstance(value, Mapping):
        for name, each in list(value.items()):
            yield from texts(name, seen)
            yield from texts(each, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in list(value):
            yield from texts(each, seen)
    elif isinstance(value, FunctionType):
        for cell in value.__closure__ or ():
            yield from texts(cell.cell_contents, seen)
    elif isinstance(value, MethodType):
        yield from texts(value.__self__, seen)
        yield from texts(value.__func__, seen)
    else:
        slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
        for name in (*slots, *getattr(value, "__dict__", {})):
            yield from texts(getattr(value, name, None), seen)


@pytest.fixture
def token(ssh_keys: Callable[..., Any], tmp_path: Path) -> Iterator[tuple[Issuer, str]]:
    key = ssh_keys()
    users = {"alice": User(keys=(key.line,), groups=("eng",))}
    with Issuer(users, {"cli": SECRET}) as issuer:
        settings = LoginSettings(
            issuer.url, "cli", SECRET, "imgctl", pubkey_file=key.public, username="alice"
        )
        yield issuer, login(settings).value


@pytest.fixture
def promoter() -> Nosy:
    return Nosy()


@pytest.fixture
def notifier() -> Gossip:
    return Gossip()


@pytest.fixture
def client(
    token: tuple[Issuer, str], promoter: Nosy, notifier: Gossip, tmp_path: Path
) -> Iterator[Client]:
    """Return a client of a real server, whose plugins are these two."""
    issuer, value = token
    settings = load_settings(
        environ={
            "OIDC_ISSUER_URL": issuer.url,
            "OIDC_AUDIENCE": "imgctl",
            "OIDC_ALLOWED_GROUPS": "eng",
            "IMGCTL_BIND_ADDRESS": "127.0.0.1:0",
            "IMGCTL_AUDIT_LOG": str(tmp_path / "audit.jsonl"),
        }
    )
    registry = PluginRegistry({"note": Nosy}, {"gossip": Gossip}, ())
    plugins = Plugins(registry, {"note": promoter}, {"gossip": notifier}, ("dev", "prod"))
    parts = assemble(settings, plugins)
    try:
        parts.keys.start()
        with server_of(settings, parts) as server, Client(Target(server.address), value) as client:
            yield client
    finally:
        parts.close()


REQUEST = PromotionRequest(("note::hello:v1",), "prod", "dev", options={"how": "well"})


def test_never_the_token_nor_any_other_secret(
    client: Client, promoter: Nosy, notifier: Gossip, token: tuple[Issuer, str]
) -> None:
    client.plan(REQUEST)
    assert client.promote(PromotionRequest(("note::hello:v1",), "prod", "dev")).outcome is (
        Outcome.PROMOTED
    )
    assert notifier.told.wait(30)
    assert len(promoter.handed) == 15
    reached = set(texts([promoter.handed, notifier.handed], set()))
    # The walk is worth something: it finds what is there to be found.
    assert {"hello", "v1", "dev", "prod", "how", "well", "note::hello:v1"} <= reached
    signature = token[1].rpartition(".")[2]
    assert not [text for text in reached if signature in text or "Bearer " in text]
    assert not [text for text in reached if SECRET in text]


def test_records_that_nothing_can_be_written_to(client: Client, promoter: Nosy) -> None:
    client.promote(PromotionRequest(("note::hello:v1",), "prod", "dev"))
    records = [each for each in promoter.handed if isinstance(each, PromotionItem | Plan)]
    assert len(records) == 4
    for record in (*records, *(each for each in promoter.handed if isinstance(each, Context))):
        assert is_dataclass(record)
        for each in fields(record):
            with pytest.raises(FrozenInstanceError):
                setattr(record, each.name, None)
    item = records[0]
    assert isinstance(item, PromotionItem)
    with pytest.raises(FrozenInstanceError):
        item.ref.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        item.options["how"] = "badly"  # type: ignore[index]


@pytest.mark.parametrize(
    "text", ["note::a\n:v1", "note::a\u202e:v1", "note::a\0:v1", "note::" + "a" * 1024]
)
def test_nothing_that_was_not_checked(client: Client, promoter: Nosy, text: str) -> None:
    """By the server: our client would not even have sent it."""
    from imgctl_core._proto import imgctl_pb2 as pb

    message = pb.StartPromotionRequest(refs=[text], destination="prod", source="dev")
    with pytest.raises(RequestError):
        client._call(client._stub.StartPromotion, message)
    assert promoter.parsed == []
    assert promoter.handed == []
