"""SSH public keys: which ones can log in, and how they are read from a file."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from imgctl_core.errors import NoUsableKey
from imgctl_core.text import one_line

_FAMILIES = {
    "ssh-ed25519": "ED25519",
    "ecdsa-sha2-nistp256": "ECDSA",
    "ecdsa-sha2-nistp384": "ECDSA",
    "ecdsa-sha2-nistp521": "ECDSA",
    "ssh-rsa": "RSA",
}
"""The key types that Dex's SSH connector can verify, best first."""

_MIN_RSA_BITS = 2048
_MAX_FILE = 64 * 1024


@dataclass(frozen=True)
class PublicKey:
    """An SSH public key: its type, its wire form, and what its owner calls it."""

    type: str
    blob: bytes
    comment: str = ""

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -lf` prints it."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode("ascii")

    @property
    def family(self) -> str:
        return _FAMILIES.get(self.type, one_line(self.type, 60))

    @property
    def is_rsa(self) -> bool:
        return self.type == "ssh-rsa"

    @property
    def rank(self) -> int:
        """Where it stands in the order of trying: Ed25519, ECDSA, RSA."""
        return ("ED25519", "ECDSA", "RSA").index(self.family)

    def __str__(self) -> str:
        comment = f" ({one_line(self.comment, 60)})" if self.comment else ""
        return f"{self.family} {self.fingerprint}{comment}"


class Signer(Protocol):
    """A private key that can be asked for signatures, wherever it is."""

    @property
    def key(self) -> PublicKey: ...

    def sign(self, data: bytes) -> bytes:
        """Return the blob of the SSH signature over `data`, without format and length.

        Raises:
            NoUsableKey: this key will not sign; another one may.
            AgentUnavailable: the agent that holds it went away.
        """
        ...


def unusable(key_type: str) -> str:
    """Say why keys of this type can't log in, or return an empty text when they can."""
    if key_type in _FAMILIES:
        return ""
    if "-cert-" in key_type:
        return "it is a certificate, and Dex knows plain keys only"
    if key_type.startswith("sk-"):
        return "it is on a security key, whose signatures Dex's SSH connector can't verify"
    if key_type == "ssh-dss":
        return "it is a DSA key, which is too weak"
    return f"keys of type {one_line(key_type, 60)!r} are unknown to Dex's SSH connector"


def read_public_key(path: Path) -> PublicKey:
    """Read the one key of a public key file (`ssh-keygen` writes it beside the private one).

    Raises:
        NoUsableKey: there is no such file, it holds no or several keys, or its key is of
            a type or size that can't log in.
    """
    line = read_key_line(path)
    shown = one_line(str(path))
    key_type = line.split(None, 1)[0]
    if reason := unusable(key_type) if key_type.startswith(("ssh-", "sk-", "ecdsa-")) else "":
        raise NoUsableKey(
            f"the key in {shown} can't log in: {reason}",
            fix="use --pubkey-file with an Ed25519, ECDSA or RSA key",
        )
    blob, bits, comment = _parse(line, shown)
    if key_type == "ssh-rsa" and bits < _MIN_RSA_BITS:
        raise NoUsableKey(
            f"the RSA key in {shown} has {bits} bits, which is too weak to log in with",
            fix="make a new one with 'ssh-keygen -t ed25519' and have it registered in Dex",
        )
    return PublicKey(key_type, blob, comment)


def default_public_key() -> Path | None:
    """Return ~/.ssh/id_ed25519.pub if it exists; None too when this user has no home."""
    return _in_ssh_folder("id_ed25519.pub")


def other_public_keys() -> tuple[Path, ...]:
    """Return what else `ssh-keygen` makes of itself and can log in, if it exists, best first."""
    found = map(_in_ssh_folder, ("id_ecdsa.pub", "id_rsa.pub"))
    return tuple(path for path in found if path is not None)


def _in_ssh_folder(name: str) -> Path | None:
    path = in_home(Path("~/.ssh", name))
    try:
        return path if path.is_absolute() and path.exists() else None
    except OSError:
        return None


def in_home(path: Path) -> Path:
    """Replace a leading `~`, which no shell does in a settings file."""
    # Unlike pathlib's, this doesn't raise for a user without a home.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def read_key_line(path: Path) -> str:
    """Return the line of a public key file, without parsing the key in it.

    Raises:
        NoUsableKey: there is no such file, or it holds more than one line.
    """
    shown = one_line(str(path))
    fix = "use --pubkey-file with a file such as ~/.ssh/id_ed25519.pub"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise NoUsableKey(
            f"the public key file {shown} can't be read: {error.strerror}", fix=fix
        ) from None
    if b"PRIVATE KEY" in data:
        raise NoUsableKey(f"{shown} is a private key", fix="give the .pub file beside it")
    try:
        line = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        line = ""
    if not line or len(data) > _MAX_FILE:
        raise NoUsableKey(f"{shown} is not a public key file", fix=fix)
    if "\n" in line or "\r" in line:
        raise NoUsableKey(
            f"{shown} holds more than one line, so it is not clear which key is meant",
            fix="give a file with one key",
        )
    return line


def _parse(line: str, shown: str) -> tuple[bytes, int, str]:
    """Return wire form, size in bits and comment of a line as `ssh-keygen` writes it."""
    from sshpubkeys import SSHKey
    from sshpubkeys.exceptions import InvalidKeyError

    # The constructor swallows errors when it gets the line; parse() raises them, and
    # some that are not its own (ValueError and its Unicode kin, NotImplementedError, and
    # AssertionError for a point that is not on its curve).
    untyped: Any = SSHKey
    parser = untyped(strict=True, disallow_options=True)
    try:
        parser.parse(line)
        blob = base64.b64decode(line.split(None, 2)[1])
        return blob, int(parser.bits), parser.comment or ""
    except (InvalidKeyError, ValueError, NotImplementedError, AssertionError) as error:
        raise NoUsableKey(
            f"{shown} holds no valid SSH public key: {one_line(str(error))}",
            fix="print it again with 'ssh-keygen -y -f PRIVATE-KEY'",
        ) from None
