"""The whole path, from outside: the real command line against a real server process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.testing.issuer import Issuer, User
from imgctl_core.testing.peers import ServerProcess
from imgctl_core.testing.registry import Registry
from imgctl_core.testing.ssh import make_ssh_key

CLIENT_ID, CLIENT_SECRET = "imgctl-cli", "very-secret"
AUDIENCE = "https://127.0.0.1"
CLI = (sys.executable, "-W", "error", "-m", "imgctl_cli")


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass
class Stack:
    """An issuer, a person's key, and a server process that a test starts and stops."""

    issuer: Issuer
    folder: Path
    client: dict[str, str]
    server_settings: dict[str, str]
    process: ServerProcess | None = None
    starts: int = field(default=0)

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.jsonl"

    @property
    def log(self) -> str:
        """Everything the server logged since it was started last."""
        assert self.process is not None
        return self.process.log.read_text("utf-8", "replace")

    def start(self, **settings: str) -> None:
        """Start the server and return when it serves and can check tokens.

        Those are two moments: a call in between waits two seconds for the issuer's keys, and
        on a busy machine they may come later.
        """
        self.starts += 1
        self.process = ServerProcess(
            [*CLI, "server"],
            self.folder / f"server-{self.starts}.log",
            {**self.server_settings, **settings},
        )
        self.process.wait_until(
            lambda: "serving on " in self.log and "fetched the keys of " in self.log
        )
        found = re.search(r"serving on (\S+)", self.log)
        assert found is not None
        self.client["IMGCTL_SERVER"] = found[1]

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
        """Run `imgctl` with these arguments, off a terminal."""
        done = subprocess.run(
            [*CLI, *arguments],
            env={**self._base(), **self.client, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*CLI, *arguments],
            env={**self._base(), **self.client},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def promote(self, ref: str, *more: str, source: str = "dev") -> Done:
        return self.run("promote", ref, "--source", source, "--destination", "prod", *more)

    def _base(self) -> dict[str, str]:
        kept = ("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
        return {name: os.environ[name] for name in kept if name in os.environ}


@contextlib.contextmanager
def _stack(folder: Path) -> Iterator[Stack]:
    alice, bob = (make_ssh_key(folder / "ssh" / name) for name in ("alice", "bob"))
    users = {
        "alice": User(keys=(alice.line,), groups=("eng",), email="alice@example.com"),
        "bob": User(keys=(bob.line,), groups=("sales",), email="bob@example.com"),
    }
    with Issuer(users=users, clients={CLIENT_ID: CLIENT_SECRET}) as issuer:
        stack = Stack(
            issuer,
            folder,
            client={
                "DEX_URL": issuer.url,
                "IMGCTL_CLIENT_ID": CLIENT_ID,
                "IMGCTL_CLIENT_SECRET": CLIENT_SECRET,
                "IMGCTL_PUBKEY_FILE": str(alice.public),
                "KUBECTL_SSH_USER": "alice",
                "BOB_KEY": str(bob.public),
            },
            server_settings={
                "OIDC_ISSUER_URL": issuer.url,
                "OIDC_AUDIENCE": AUDIENCE,
                "OIDC_ALLOWED_GROUPS": "eng",
                "IMGCTL_BIND_ADDRESS": "127.0.0.1:0",
                "IMGCTL_AUDIT_LOG": str(folder / "audit.jsonl"),
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        )
        with contextlib.ExitStack() as stop:
            stop.callback(stack.stop)
            yield stack


@contextlib.contextmanager
def _registries(stack: Stack) -> Iterator[tuple[Registry, Registry, Registry]]:
    with Registry() as dev, Registry() as integration, Registry() as prod:
        stack.server_settings |= {
            "IMGCTL_REGISTRY_DEV": dev.url,
            "IMGCTL_REGISTRY_INT": integration.url,
            "IMGCTL_REGISTRY_PROD": prod.url,
        }
        yield dev, integration, prod


@pytest.fixture
def stack(tmp_path: Path, peer: Callable[[str], Path], home: Path) -> Iterator[Stack]:
    peer("ssh-keygen")
    with _stack(tmp_path) as stack:
        yield stack


@pytest.fixture
def registries(stack: Stack) -> Iterator[tuple[Registry, Registry, Registry]]:
    """Three registries: the environments dev, int and prod."""
    with _registries(stack) as registries:
        yield registries


@pytest.fixture(scope="module")
def shared_stack(
    tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path]
) -> Iterator[Stack]:
    """A stack for tests that leave its server as it was."""
    peer("ssh-keygen")
    with _stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def shared_registries(shared_stack: Stack) -> Iterator[tuple[Registry, Registry, Registry]]:
    """The shared stack's."""
    with _registries(shared_stack) as registries:
        yield registries
