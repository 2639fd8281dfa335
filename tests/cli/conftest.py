"""A scripted server and login behind the command line, and a way to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from imgctl_cli.main import main
from imgctl_core.access import AuthReport
from imgctl_core.client.login import LoginSettings, Token
from imgctl_core.client.target import Target
from imgctl_core.errors import ImgctlError, RateLimited, TokenRefused
from imgctl_core.models import (
    ActivationRequest,
    Actor,
    EnvironmentInfo,
    ItemResult,
    ManifestRow,
    Outcome,
    PlanReport,
    PluginInfo,
    Progress,
    Promotion,
    PromotionRequest,
)

DIGEST = "sha256:" + "9f" * 32


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *args: str) -> Ran: ...


@dataclass
class FakeServer:
    """What the server answers, and what it was asked."""

    promotion: Promotion
    stream: list[Progress | Promotion | BaseException] = field(default_factory=list)
    error: ImgctlError | None = None
    refused: set[str] = field(default_factory=set)
    busy: list[float] = field(default_factory=list)
    plan: PlanReport | None = None
    auth: AuthReport | None = None
    plugins: tuple[PluginInfo, ...] = ()
    environments: tuple[EnvironmentInfo, ...] = ()
    rows: Sequence[ManifestRow | BaseException] = ()
    requests: list[PromotionRequest] = field(default_factory=list)
    activations: list[ActivationRequest] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    targets: list[tuple[str, Path | None]] = field(default_factory=list)


@dataclass
class FakeDex:
    """What a login gives, and what it was asked for."""

    tokens: list[str] = field(default_factory=lambda: ["first-token", "second-token"])
    claims: Mapping[str, object] = field(default_factory=dict)
    error: ImgctlError | None = None
    lines: tuple[str, ...] = ()
    logins: list[tuple[LoginSettings, bool]] = field(default_factory=list)
    may_ask: list[bool] = field(default_factory=list)

    def login(
        self,
        settings: LoginSettings,
        *,
        ask_passphrase: Callable[[str], str] | None = None,
        say: Callable[[str], None] = lambda line: None,
        use_cache: bool = True,
    ) -> Token:
        self.logins.append((settings, use_cache))
        self.may_ask.append(ask_passphrase is not None)
        if self.error is not None:
            raise self.error
        for line in self.lines:
            say(line)
        return Token(self.tokens[len(self.logins) - 1], 4102444800.0, self.claims)


@dataclass
class FakeClient:
    server: FakeServer
    target: Target
    token: str | Callable[[], str]

    def close(self) -> None:
        self.server.asked.append(("closed", ""))

    def _admit(self, method: str, argument: str = "") -> None:
        token = self.token if isinstance(self.token, str) else self.token()
        self.server.asked.append((method, argument))
        if self.server.busy:
            raise RateLimited("too many calls from you", wait=self.server.busy.pop(0))
        if token in self.server.refused:
            raise TokenRefused("the server did not accept the token")
        if self.server.error is not None:
            raise self.server.error

    def start(self, request: PromotionRequest) -> Promotion:
        self.server.requests.append(request)
        self._admit("start")
        return replace(self.server.promotion, outcome=None, ended_at=None)

    def plan(self, request: PromotionRequest) -> PlanReport:
        self.server.requests.append(request)
        self._admit("plan")
        assert self.server.plan is not None
        return self.server.plan

    def start_activation(self, request: ActivationRequest) -> Promotion:
        self.server.activations.append(request)
        self._admit("start_activation")
        return replace(self.server.promotion, outcome=None, ended_at=None)

    def plan_activation(self, request: ActivationRequest) -> PlanReport:
        self.server.activations.append(request)
        self._admit("plan_activation")
        assert self.server.plan is not None
        return self.server.plan

    def watch(self, promotion_id: str) -> Iterator[Progress | Promotion]:
        self._admit("watch", promotion_id)
        for message in self.server.stream or [self.server.promotion]:
            if isinstance(message, BaseException):
                raise message
            yield message

    def export_plan(self, request: PromotionRequest) -> Iterator[ManifestRow | PlanReport]:
        self.server.requests.append(request)
        self._admit("export_plan")
        yield from self._rows()
        if self.server.plan is not None:
            yield self.server.plan

    def manifest(self, promotion_id: str, ref: str = "") -> Iterator[ManifestRow]:
        self._admit("manifest", f"{promotion_id} {ref}".strip())
        yield from self._rows()

    def _rows(self) -> Iterator[ManifestRow]:
        for row in self.server.rows:
            if isinstance(row, BaseException):
                raise row
            yield row

    def cancel(self, promotion_id: str) -> Promotion:
        self._admit("cancel", promotion_id)
        return self.server.promotion

    def auth_check(self, explained: PromotionRequest | None = None) -> AuthReport:
        if explained is not None:
            self.server.requests.append(explained)
        self._admit("auth_check")
        assert self.server.auth is not None
        return self.server.auth

    def plugins(self) -> tuple[PluginInfo, ...]:
        self._admit("plugins")
        return self.server.plugins

    def environments(self) -> tuple[EnvironmentInfo, ...]:
        self._admit("environments")
        return self.server.environments


class MakePromotion(Protocol):
    """Makes an ended promotion of these items, or of one promoted image."""

    def __call__(
        self, *items: ItemResult, outcome: Outcome | None = ..., **more: Any
    ) -> Promotion: ...


@pytest.fixture
def promotion() -> MakePromotion:
    def make(
        *items: ItemResult, outcome: Outcome | None = Outcome.PROMOTED, **more: Any
    ) -> Promotion:
        started = datetime(2026, 10, 1, 8, 0, tzinfo=UTC)
        return Promotion(
            id="pr_01K3",
            source="dev",
            destination="prod",
            actor=Actor("https://dex.test", "CgVhbGljZRIDc3No", "alice", "alice@example.com"),
            items=items or (ItemResult("myapp:v1", "image", outcome, DIGEST, 1_000, 2_000, 3_000),),
            started_at=started,
            ended_at=started + timedelta(seconds=2),
            outcome=outcome,
            **more,
        )

    return make


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, promotion: MakePromotion) -> FakeServer:
    """Return the server that every client talks to from now on."""
    fake = FakeServer(promotion())

    def connect(target: Target, token: str | Callable[[], str]) -> FakeClient:
        fake.targets.append((target.address, target.ca_file))
        return FakeClient(fake, target, token)

    monkeypatch.setattr("imgctl_core.client.api.Client", connect)
    return fake


@pytest.fixture
def dex(monkeypatch: pytest.MonkeyPatch) -> FakeDex:
    """Return the Dex that every login goes to from now on, with the settings for it."""
    fake = FakeDex()
    monkeypatch.setattr("imgctl_core.client.login.login", fake.login)
    monkeypatch.setenv("DEX_URL", "https://dex.test")
    monkeypatch.setenv("IMGCTL_CLIENT_ID", "imgctl-cli")
    return fake


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in this process."""

    def call(*args: str) -> Ran:
        code = main(args)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


@pytest.fixture
def config_file(home: Path) -> Callable[[str], Path]:
    """Return a function that writes the client's settings file."""

    def write(text: str) -> Path:
        path = home / ".config" / "imgctl" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write
