"""The kit's pytest fixtures. Name this module in your conftest's `pytest_plugins`.

A fixture that needs a real program skips the test when that program is absent, with how
to get it as the reason; with IMGCTL_REQUIRE_PEERS=1 in the environment it fails instead.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from imgctl_core.testing.faultproxy import HttpFaultProxy
from imgctl_core.testing.isolation import clean_environment, guard_network
from imgctl_core.testing.peers import PROGRAMS, DockerRegistry, VersityGateway, find_program
from imgctl_core.testing.ssh import SshAgent, SshKeyFiles, make_ssh_key
from imgctl_core.testing.tls import TlsFiles, make_tls_files


class MakeDockerRegistry(Protocol):
    """Starts another registry, which stops after the test."""

    def __call__(
        self,
        *,
        tls: TlsFiles | bool = False,
        htpasswd: bool = False,
        read_only: bool = False,
    ) -> DockerRegistry: ...


class MakeVersityGateway(Protocol):
    """Starts another S3 server, which stops after the test."""

    def __call__(self, *, tls: TlsFiles | bool = False) -> VersityGateway: ...


class MakeFaultProxy(Protocol):
    """Starts another HTTP proxy, which stops after the test."""

    def __call__(
        self,
        upstream: str,
        *,
        upstream_ca: Path | None = None,
        tls: TlsFiles | bool = False,
        timeout: float = 60.0,
    ) -> HttpFaultProxy: ...


class MakeSshKeys(Protocol):
    """Makes another key pair in a folder of its own."""

    def __call__(
        self,
        kind: str = "ed25519",
        *,
        bits: int | None = None,
        passphrase: str = "",
        comment: str = "alice@example.com",
        directory: Path | None = None,
        name: str = "",
        pem: bool = False,
    ) -> SshKeyFiles: ...


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of all homes: pytest looks at each of its own folders to number one."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture
def home(homes: Path) -> Path:
    """Return the empty folder that is this test's home."""
    return Path(tempfile.mkdtemp(dir=homes))


@pytest.fixture
def isolated(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the test off from the machine's settings and from the network outside."""
    clean_environment(monkeypatch, home)
    guard_network(monkeypatch)


@pytest.fixture(scope="session")
def peer(pytestconfig: pytest.Config) -> Callable[[str], Path]:
    """Return a function from a program's name to its path; it skips when absent."""
    folder = pytestconfig.rootpath / ".peers" / "bin"

    def find(name: str) -> Path:
        found = find_program(name, [folder])
        if found is not None:
            return found
        reason = f"{name} is not installed: {PROGRAMS[name]}"
        if os.environ.get("IMGCTL_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    return find


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Return an authority and a certificate for localhost, 127.0.0.1 and ::1."""
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def docker_registry(
    peer: Callable[[str], Path], tls_files: TlsFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeDockerRegistry]:
    """Return a function that starts a real registry."""
    program = peer("docker-registry")
    with contextlib.ExitStack() as stack:

        def make(
            *,
            tls: TlsFiles | bool = False,
            htpasswd: bool = False,
            read_only: bool = False,
        ) -> DockerRegistry:
            return stack.enter_context(
                DockerRegistry(
                    program,
                    tmp_path_factory.mktemp("docker-registry"),
                    tls=_chosen(tls, tls_files),
                    htpasswd=htpasswd,
                    read_only=read_only,
                )
            )

        yield make


@pytest.fixture
def versitygw(
    peer: Callable[[str], Path], tls_files: TlsFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeVersityGateway]:
    """Return a function that starts a real S3 server."""
    program = peer("versitygw")
    with contextlib.ExitStack() as stack:

        def make(*, tls: TlsFiles | bool = False) -> VersityGateway:
            return stack.enter_context(
                VersityGateway(
                    program, tmp_path_factory.mktemp("versitygw"), tls=_chosen(tls, tls_files)
                )
            )

        yield make


@pytest.fixture
def fault_proxy(tls_files: TlsFiles) -> Iterator[MakeFaultProxy]:
    """Return a function that starts an HTTP proxy in front of a server, given its URL."""
    with contextlib.ExitStack() as stack:

        def make(
            upstream: str,
            *,
            upstream_ca: Path | None = None,
            tls: TlsFiles | bool = False,
            timeout: float = 60.0,
        ) -> HttpFaultProxy:
            files = _chosen(tls, tls_files)
            return stack.enter_context(
                HttpFaultProxy(
                    upstream,
                    upstream_ca=upstream_ca,
                    timeout=timeout,
                    tls_cert=files.cert if files else None,
                    tls_key=files.key if files else None,
                )
            )

        yield make


def _chosen(tls: TlsFiles | bool, default: TlsFiles) -> TlsFiles | None:
    if isinstance(tls, TlsFiles):
        return tls
    return default if tls else None


@pytest.fixture
def ssh_keys(peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> MakeSshKeys:
    """Return a function that makes a key pair with ssh-keygen."""
    peer("ssh-keygen")
    numbers = itertools.count()
    folder = tmp_path_factory.mktemp("ssh")

    def make(
        kind: str = "ed25519",
        *,
        bits: int | None = None,
        passphrase: str = "",
        comment: str = "alice@example.com",
        directory: Path | None = None,
        name: str = "",
        pem: bool = False,
    ) -> SshKeyFiles:
        return make_ssh_key(
            directory or folder / str(next(numbers)),
            kind,
            bits=bits,
            passphrase=passphrase,
            comment=comment,
            name=name,
            pem=pem,
        )

    return make


@pytest.fixture
def ssh_agent(peer: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[SshAgent]:
    """Return a real agent without keys; SSH_AUTH_SOCK names it during the test."""
    peer("ssh-agent")
    peer("ssh-add")
    with SshAgent() as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.socket))
        yield agent
