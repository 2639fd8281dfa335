"""Private key files, as ssh-keygen and openssl write them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.dsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from imgctl_core.client import keyfiles
from imgctl_core.client.keyfiles import FileSigner
from imgctl_core.client.sshkeys import read_public_key
from imgctl_core.errors import NoUsableKey
from imgctl_core.testing.ssh import SshKeyFiles, make_ssh_key

Verify = Callable[[str, bytes, bytes], None]
KINDS = ("ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa")
PASSPHRASE = "correct horse"


def signer(files: SshKeyFiles, ask: Callable[[str], str] | None = None) -> FileSigner:
    return FileSigner(files.private, read_public_key(files.public), ask)


class Typist:
    """Types the answers it was given, and remembers the prompts."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.answers.pop(0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_signs_as_the_connector_verifies(
    kind: str, key_set: dict[str, SshKeyFiles], verify: Verify
) -> None:
    files = key_set[kind]
    held = signer(files)
    # Numbers of a signature have leading zeros once in a while.
    for number in range(2 if kind == "rsa" else 300):
        data = f"data {number}".encode()
        verify(files.line, data, held.sign(data))


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (kind, form)
        for kind in KINDS
        for form in ("openssh", "pem", "pkcs8")
        if (kind, form) != ("ed25519", "pem")  # There is no such form.
    ],
)
@pytest.mark.parametrize("encrypted", [False, True])
def test_every_form(
    kind: str,
    form: str,
    encrypted: bool,
    key_set: dict[str, SshKeyFiles],
    tmp_path: Path,
    verify: Verify,
) -> None:
    source = key_set[kind]
    formats = {
        "openssh": PrivateFormat.OpenSSH,
        "pem": PrivateFormat.TraditionalOpenSSL,
        "pkcs8": PrivateFormat.PKCS8,
    }
    private = load_ssh_private_key(source.private.read_bytes(), None)
    encryption = BestAvailableEncryption(PASSPHRASE.encode()) if encrypted else NoEncryption()
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(private.private_bytes(Encoding.PEM, formats[form], encryption))
    typist = Typist(PASSPHRASE)
    held = FileSigner(path, read_public_key(source.public), typist)
    verify(source.line, b"S", held.sign(b"S"))
    assert typist.prompts == ([f"Passphrase for {path}: "] if encrypted else [])


@pytest.mark.parametrize("pem", [False, True])
def test_encrypted_by_ssh_keygen(pem: bool, tmp_path: Path, verify: Verify) -> None:
    files = make_ssh_key(tmp_path, "ecdsa", bits=256, passphrase=PASSPHRASE, pem=pem)
    typist = Typist("wrong", "", PASSPHRASE)
    held = signer(files, typist)
    assert typist.prompts == []  # Not before it is asked to sign.
    verify(files.line, b"S", held.sign(b"S"))
    assert len(typist.prompts) == 3


@pytest.fixture
def locked(tmp_path: Path) -> SshKeyFiles:
    return make_ssh_key(tmp_path, passphrase=PASSPHRASE)


def test_three_tries(locked: SshKeyFiles) -> None:
    typist = Typist("a", "b", "c", PASSPHRASE)
    with pytest.raises(NoUsableKey, match=r"not the passphrase of .* 3 times"):
        signer(locked, typist).sign(b"S")
    assert typist.answers == [PASSPHRASE]


def test_a_passphrase_in_the_bytes_that_were_typed(tmp_path: Path, verify: Verify) -> None:
    """A terminal of another time sends one byte for `ö`, and so did it to ssh-keygen."""
    files = make_ssh_key(tmp_path, passphrase="h\udcf6")
    held = signer(files, Typist("h\udcc3", "hö", "h\udcf6"))
    verify(files.line, b"S", held.sign(b"S"))


def test_nobody_to_ask(locked: SshKeyFiles) -> None:
    with pytest.raises(NoUsableKey, match="no terminal") as caught:
        signer(locked).sign(b"S")
    assert f"ssh-add {locked.private}" in caught.value.fix


def test_no_passphrase_in_errors(locked: SshKeyFiles) -> None:
    with pytest.raises(NoUsableKey) as caught:
        signer(locked, Typist(*["hunter2"] * 3)).sign(b"S")
    assert "hunter2" not in caught.value.message + caught.value.fix


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_files_that_others_may_read(
    mode: int, key_set: dict[str, SshKeyFiles], tmp_path: Path
) -> None:
    path = tmp_path / "key"
    shutil.copy(key_set["ed25519"].private, path)
    path.chmod(mode)
    with pytest.raises(NoUsableKey, match=f"mode {mode:04o}") as caught:
        FileSigner(path, read_public_key(key_set["ed25519"].public), None)
    assert caught.value.fix == f"run 'chmod 600 {path}'"


def test_a_file_of_another_user_is_theirs_to_protect(
    key_set: dict[str, SshKeyFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: Verify
) -> None:
    """As Kubernetes mounts a secret: root's, and readable by our group."""
    source = key_set["ed25519"]
    path = tmp_path / "key"
    shutil.copy(source.private, path)
    path.chmod(0o440)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    held = FileSigner(path, read_public_key(source.public), None)
    verify(source.line, b"S", held.sign(b"S"))


def test_another_keys_private_file(key_set: dict[str, SshKeyFiles]) -> None:
    held = FileSigner(
        key_set["ecdsa-256"].private, read_public_key(key_set["ed25519"].public), None
    )
    with pytest.raises(NoUsableKey, match="does not belong"):
        held.sign(b"S")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_key(content: bytes, key_set: dict[str, SshKeyFiles], tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(content)
    typist = Typist()
    with pytest.raises(NoUsableKey, match="can't be read"):
        FileSigner(path, read_public_key(key_set["ed25519"].public), typist).sign(b"S")


def test_a_type_that_can_not_log_in(key_set: dict[str, SshKeyFiles], tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(
        generate_private_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(NoUsableKey, match="of a type"):
        FileSigner(path, read_public_key(key_set["ed25519"].public), None).sign(b"S")


def test_no_file(key_set: dict[str, SshKeyFiles], tmp_path: Path) -> None:
    with pytest.raises(NoUsableKey, match="No such file"):
        FileSigner(tmp_path / "gone", read_public_key(key_set["ed25519"].public), None)


def test_a_named_pipe_does_not_hang(key_set: dict[str, SshKeyFiles], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(NoUsableKey, match="is not a private key file"):
        FileSigner(tmp_path / "pipe", read_public_key(key_set["ed25519"].public), None)


def test_sha1_forbidden_by_the_machine(
    key_set: dict[str, SshKeyFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(private: object, data: bytes) -> bytes:
        raise UnsupportedAlgorithm("sha1 is not supported by this backend")

    monkeypatch.setattr(keyfiles, "_sign", forbidden)
    with pytest.raises(NoUsableKey, match="this machine can't sign") as caught:
        signer(key_set["rsa"]).sign(b"S")
    assert "Ed25519" in caught.value.fix
