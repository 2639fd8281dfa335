"""Public key files."""

from __future__ import annotations

import base64
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imgctl_core.client.sshkeys import PublicKey, read_public_key, unusable
from imgctl_core.errors import NoUsableKey
from imgctl_core.testing.ssh import SshKeyFiles, make_ssh_key

KINDS = ("ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa")


def packed(*parts: bytes) -> str:
    data = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_ssh_keygen(kind: str, key_set: dict[str, SshKeyFiles]) -> None:
    files = key_set[kind]
    key = read_public_key(files.public)
    listed = subprocess.run(
        ["ssh-keygen", "-lf", str(files.public)], check=True, capture_output=True, text=True
    ).stdout
    assert key.fingerprint == listed.split()[1]
    assert key.comment == f"{kind} of alice"
    assert key.type == files.line.split()[0]
    assert key.family in listed
    assert str(key) == f"{key.family} {key.fingerprint} ({kind} of alice)"


def test_order_of_families() -> None:
    ranks = [
        PublicKey(kind, b"").rank
        for kind in ("ssh-ed25519", "ecdsa-sha2-nistp521", "ecdsa-sha2-nistp256", "ssh-rsa")
    ]
    assert ranks == [0, 1, 1, 2]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_ends_of_the_line(ending: str, key_set: dict[str, SshKeyFiles], tmp_path: Path) -> None:
    path = tmp_path / "k.pub"
    path.write_bytes((key_set["ed25519"].line + ending).encode())
    assert read_public_key(path).type == "ssh-ed25519"


@pytest.mark.parametrize("between", ["\n", "\r", "\r\n", "\n\n"])
def test_one_key_only(between: str, key_set: dict[str, SshKeyFiles], tmp_path: Path) -> None:
    path = tmp_path / "k.pub"
    lines = key_set["ed25519"].line, key_set["rsa"].line
    path.write_bytes(between.join(lines).encode())
    with pytest.raises(NoUsableKey, match="more than one line"):
        read_public_key(path)


def test_private_key_by_mistake(key_set: dict[str, SshKeyFiles]) -> None:
    with pytest.raises(NoUsableKey, match="is a private key") as caught:
        read_public_key(key_set["ed25519"].private)
    assert ".pub" in caught.value.fix


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(NoUsableKey, match=r"can't be read: No such file"):
        read_public_key(tmp_path / "k.pub")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NoUsableKey, match="can't be read"):
        read_public_key(tmp_path)


ED = "ssh-ed25519"
GOOD = packed(b"ssh-ed25519", b"\x01" * 32)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"\xff\xfe\x00",
        b"x" * 70_000,
        b"ssh-ed25519",
        b"ssh-ed25519 !!!!",
        "ssh-ed25519 schlüssel".encode(),
        f"{ED} {packed(b'ssh-ed25519', b'x' * 31)}".encode(),
        f"{ED} {packed(b'ssh-ed25519', b'x' * 32, b'more')}".encode(),
        f"{ED} {packed(b'ssh-rsa', b'x' * 32)}".encode(),
        f"{ED} {packed(bytes([255, 254]), b'x' * 32)}".encode(),
        f"ssh-rsa {packed(b'ssh-rsa', b'', b'')}".encode(),
        f"ssh-rsa {packed(b'ssh-rsa', bytes([2]), bytes([0, 255]) * 128)}".encode(),
        f"ecdsa-sha2-nistp256 {packed(b'ecdsa-sha2-nistp256', b'nistp256', b'x' * 65)}".encode(),
        f"ecdsa-sha2-nistp256 {packed(b'ecdsa-sha2-nistp256', b'nistp999', b'x' * 65)}".encode(),
        f'command="rm" {ED} {GOOD}'.encode(),
        f"restrict {ED} {GOOD}".encode(),
        f"x25519 {GOOD}".encode(),
        b"---- BEGIN SSH2 PUBLIC KEY ----",
    ],
)
def test_what_is_no_key(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "k.pub"
    path.write_bytes(line)
    with pytest.raises(NoUsableKey, match=re.escape(str(path))) as caught:
        read_public_key(path)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("ssh-dss", "DSA"),
        ("sk-ssh-ed25519@openssh.com", "security key"),
        ("sk-ecdsa-sha2-nistp256@openssh.com", "security key"),
        ("ssh-ed25519-cert-v01@openssh.com", "certificate"),
        ("ecdsa-sha2-nistp192", "unknown"),
    ],
)
def test_types_that_can_not_log_in(kind: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "k.pub"
    path.write_text(f"{kind} AAAA me@here\n")
    with pytest.raises(NoUsableKey, match=says):
        read_public_key(path)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp384", "ssh-rsa"])
def test_types_that_can(kind: str) -> None:
    assert unusable(kind) == ""


def test_weak_rsa(tmp_path: Path) -> None:
    files = make_ssh_key(tmp_path, "rsa", bits=1024)
    with pytest.raises(NoUsableKey, match="1024 bits"):
        read_public_key(files.public)


def test_comments_are_shown_harmlessly(blob_of: Callable[[str], bytes], tmp_path: Path) -> None:
    path = tmp_path / "k.pub"
    line = f"{ED} {GOOD} a\x1b[31mb\u202ec{'d' * 100}"
    path.write_text(line, "utf-8")
    key = read_public_key(path)
    assert key.blob == blob_of(line)
    assert "(a\ufffd[31mb\ufffdcd" in str(key)
    assert str(key).endswith("d…)")
    assert "\x1b" not in str(key)
