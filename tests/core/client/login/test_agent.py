"""The SSH agent: real ones, and ones that misbehave."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgctl_core.client import agent as agent_module
from imgctl_core.client.agent import Agent
from imgctl_core.client.sshkeys import read_public_key
from imgctl_core.errors import AgentUnavailable, NoUsableKey
from imgctl_core.testing.ssh import SshAgent, SshKeyFiles

if TYPE_CHECKING:
    from tests.core.client.login.conftest import FakeAgent

StartAgent = Callable[..., "FakeAgent"]
Listing = Callable[..., bytes]
BlobOf = Callable[[str], bytes]


def wire(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


@pytest.fixture
def socket_path() -> Iterator[str]:
    """Return a path that is short enough for a socket."""
    folder = tempfile.mkdtemp(prefix="imgctl-test-")
    yield f"{folder}/s"
    shutil.rmtree(folder)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def connect(said: list[str]) -> Iterator[Callable[[], Agent]]:
    """Return a function that opens the agent of SSH_AUTH_SOCK."""
    opened: list[Agent] = []

    def open_agent() -> Agent:
        opened.append(Agent(os.environ["SSH_AUTH_SOCK"], said.append))
        return opened[-1]

    yield open_agent
    for agent in opened:
        agent.close()


Connect = Callable[[], Agent]


def test_every_type_signs_as_the_connector_verifies(
    ssh_agent: SshAgent,
    key_set: dict[str, SshKeyFiles],
    connect: Connect,
    verify: Callable[[str, bytes, bytes], None],
) -> None:
    for name in ("rsa", "ecdsa-384", "ecdsa-521", "ed25519", "ecdsa-256"):
        ssh_agent.add(key_set[name].private)
    agent = connect()
    assert [signer.key.comment for signer in agent.signers] == [
        f"{name} of alice" for name in ("ed25519", "ecdsa-384", "ecdsa-521", "ecdsa-256", "rsa")
    ]
    assert agent.skipped == ()
    for signer in agent.signers:
        name = signer.key.comment.removesuffix(" of alice")
        assert signer.key == read_public_key(key_set[name].public)
        for data in (b"", b"S", b"S" * 5000):
            verify(key_set[name].line, data, signer.sign(data))


def test_the_holder_of_a_key(
    ssh_agent: SshAgent, key_set: dict[str, SshKeyFiles], connect: Connect
) -> None:
    ssh_agent.add(key_set["ecdsa-256"].private)
    agent = connect()
    held = agent.holder_of(read_public_key(key_set["ecdsa-256"].public))
    assert held is not None
    assert held.key.comment == "ecdsa-256 of alice"
    assert agent.holder_of(read_public_key(key_set["ed25519"].public)) is None


def test_empty(ssh_agent: SshAgent, connect: Connect) -> None:
    agent = connect()
    assert agent.signers == ()
    assert agent.skipped == ()


def test_locked(ssh_agent: SshAgent, key_set: dict[str, SshKeyFiles], connect: Connect) -> None:
    ssh_agent.add(key_set["ed25519"].private)
    ssh_agent.lock("pw")
    with pytest.raises(AgentUnavailable, match="looks locked") as caught:
        connect()
    assert "ssh-add -X" in caught.value.fix
    ssh_agent.unlock("pw")
    assert len(connect().signers) == 1


def test_locked_after_listing(
    ssh_agent: SshAgent, key_set: dict[str, SshKeyFiles], connect: Connect
) -> None:
    ssh_agent.add(key_set["ed25519"].private)
    agent = connect()
    ssh_agent.lock("pw")
    with pytest.raises(NoUsableKey, match="refuses to sign with ED25519 SHA256:"):
        agent.signers[0].sign(b"S")


def test_certificates_are_skipped_and_their_keys_are_not(
    ssh_agent: SshAgent,
    ssh_keys: Callable[..., SshKeyFiles],
    key_set: dict[str, SshKeyFiles],
    connect: Connect,
) -> None:
    key = ssh_keys(comment="mine")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(key_set["ecdsa-256"].private), "-I", "id", str(key.public)],
        check=True,
        capture_output=True,
    )
    ssh_agent.add(key.private)
    agent = connect()
    assert [signer.key.type for signer in agent.signers] == ["ssh-ed25519"]
    assert len(agent.skipped) == 1
    assert "mine" in agent.skipped[0]
    assert "certificate" in agent.skipped[0]


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Connect) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(AgentUnavailable, match=r"no SSH agent listens .*No such file") as caught:
        connect()
    assert "older session" in caught.value.fix


def test_a_dead_socket(socket_path: str) -> None:
    # A socket file that its listener left behind, as a killed agent's.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(socket_path)
    with pytest.raises(AgentUnavailable, match="Connection refused"):
        Agent(socket_path, print)


def test_hung(fake_agent: StartAgent, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "LIST_SECONDS", 0.2)
    fake_agent(lambda request: None)
    started = time.monotonic()
    with pytest.raises(AgentUnavailable, match="does not answer") as caught:
        connect()
    assert time.monotonic() - started < 5
    assert "--pubkey-file" in caught.value.fix


def test_hung_before_the_connection_is_taken(
    socket_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "LIST_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(socket_path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.connect(socket_path)
            with pytest.raises(AgentUnavailable, match="does not answer"):
                Agent(socket_path, print)


def test_hung_while_signing(
    fake_agent: StartAgent,
    listing: Listing,
    blob_of: BlobOf,
    key_set: dict[str, SshKeyFiles],
    connect: Connect,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_module, "SIGN_SECONDS", 0.3)
    monkeypatch.setattr(agent_module, "NOTICE_SECONDS", 0.1)
    line = key_set["ed25519"].line
    fake_agent(lambda request: listing((blob_of(line), b"x")) if request == b"\x0b" else None)
    agent = connect()
    with pytest.raises(AgentUnavailable, match="does not answer"):
        agent.signers[0].sign(b"S")
    assert said == ["waiting for the SSH agent; it may be asking for a confirmation"]


def test_one_bad_entry_costs_only_itself(
    fake_agent: StartAgent,
    listing: Listing,
    blob_of: BlobOf,
    key_set: dict[str, SshKeyFiles],
    connect: Connect,
) -> None:
    good = blob_of(key_set["ed25519"].line)
    fake_agent(
        lambda request: listing(
            (wire(b"ecdsa-sha2-nistp256", b"nistp256", b"rubbish"), b"broken"),
            (wire(b"\xff\xfe", b"rubbish"), b"not utf-8"),
            (b"\0", b"short"),
            (wire(b"ssh-rsa", b"\1", b"\1"), b"tiny"),
            (wire(b"ssh-ed25519", b"short"), b"ed"),
            (wire(b"sk-ssh-ed25519@openssh.com", b"x" * 32, b"ssh:"), b"yubi\x1b[0m"),
            (wire(b"ssh-dss", b"x"), b"old"),
            (good, b"\xff\xfecomment"),
        )
    )
    agent = connect()
    assert [signer.key.blob for signer in agent.signers] == [good]
    assert len(agent.skipped) == 7
    joined = "\n".join(agent.skipped)
    assert "security key" in joined
    assert "DSA" in joined
    assert "yubi\ufffd[0m" in joined


@pytest.mark.parametrize(
    ("format", "blob", "rest"),
    [
        (b"rsa-sha2-512", b"x" * 64, b""),
        (b"ssh-ed25519", b"", b""),
        (b"ssh-ed25519", b"x" * 64, b"\1\0\0\0\5"),
        (b"\xff", b"x", b""),
    ],
)
def test_signatures_that_dex_could_not_verify(
    format: bytes,
    blob: bytes,
    rest: bytes,
    fake_agent: StartAgent,
    listing: Listing,
    blob_of: BlobOf,
    key_set: dict[str, SshKeyFiles],
    connect: Connect,
) -> None:
    line = key_set["ed25519"].line

    def handle(request: bytes) -> bytes:
        if request[0] == 11:
            return listing((blob_of(line), b"x"))
        return b"\x0e" + wire(wire(format, blob) + rest)

    fake_agent(handle)
    with pytest.raises(NoUsableKey, match="can't verify"):
        connect().signers[0].sign(b"S")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"\x05", "does not list its keys"),
        (b"", "closed the connection"),
        (b"\x0c\xff\xff\xff\xff", "looks locked"),
        (b"\x0c", "looks locked"),
    ],
)
def test_odd_answers(answer: bytes, says: str, fake_agent: StartAgent, connect: Connect) -> None:
    fake_agent(lambda request: answer)
    with pytest.raises(AgentUnavailable, match=says):
        connect()


def test_a_reply_of_gigabytes_is_not_read(fake_agent: StartAgent, connect: Connect) -> None:
    fake_agent(lambda request: struct.pack(">I", 2**31) + b"x" * 100, raw=True)
    with pytest.raises(AgentUnavailable, match="no agent's reply"):
        connect()


def test_an_endless_list_ends(
    fake_agent: StartAgent,
    blob_of: BlobOf,
    key_set: dict[str, SshKeyFiles],
    connect: Connect,
) -> None:
    entry = wire(blob_of(key_set["ed25519"].line), b"x")
    fake_agent(lambda request: b"\x0c" + struct.pack(">I", 2**32 - 1) + entry * 3000)
    assert len(connect().signers) == 2048
