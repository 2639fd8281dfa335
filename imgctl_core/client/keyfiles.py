"""Private key files: the one that lies beside a public key file."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from imgctl_core.client.sshkeys import PublicKey
from imgctl_core.errors import NoUsableKey
from imgctl_core.text import one_line

PASSPHRASE_TRIES = 3

_MAX_FILE = 64 * 1024
_CURVE_HASHES: dict[int, type[hashes.HashAlgorithm]] = {
    256: hashes.SHA256,
    384: hashes.SHA384,
    521: hashes.SHA512,
}

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
AskPassphrase = Callable[[str], str]


class FileSigner:
    """The private key at `path`, which must be that of `key`.

    It is decrypted when it first signs. `ask_passphrase` gets a prompt and returns what
    was typed; None means that there is nobody to ask.

    Raises:
        NoUsableKey: the file can't be read, or others may read it.
    """

    def __init__(self, path: Path, key: PublicKey, ask_passphrase: AskPassphrase | None) -> None:
        self.key = key
        self._path = path
        self._data = _read(path)
        self._ask = ask_passphrase

    def sign(self, data: bytes) -> bytes:
        """Sign as `Signer` says; RSA with SHA-1, which is all that Dex takes.

        Raises:
            NoUsableKey: the file holds another key or none, its passphrase was not given
                in three tries, or this machine's cryptography forbids the algorithm, as
                RHEL 9's and FIPS policies do with SHA-1.
        """
        private = self._decrypt()
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        if base64.b64decode(public.split(b" ")[1]) != self.key.blob:
            shown = one_line(str(self._path))
            raise NoUsableKey(
                f"the private key {shown} does not belong to the public key beside it",
                fix=f"write the right one with 'ssh-keygen -y -f {shown} > {shown}.pub'",
            )
        try:
            return _sign(private, data)
        except (UnsupportedAlgorithm, InternalError) as error:
            raise NoUsableKey(
                f"this machine can't sign with {self.key}: {one_line(str(error))}",
                fix="use an Ed25519 key",
            ) from None

    def _decrypt(self) -> PrivateKey:
        shown = one_line(str(self._path))
        private = _load(self._data, None, shown)
        if private is not None:
            return private
        if self._ask is None:
            raise NoUsableKey(
                f"the private key {shown} has a passphrase and there is no terminal to ask for it",
                fix=f"load it into the SSH agent first: 'ssh-add {shown}'",
            )
        for _ in range(PASSPHRASE_TRIES):
            passphrase = self._ask(f"Passphrase for {shown}: ")
            # As it was typed: what a terminal sends need not be UTF-8.
            private = _load(self._data, passphrase.encode("utf-8", "surrogateescape"), shown)
            if private is not None:
                return private
        raise NoUsableKey(
            f"that was not the passphrase of {shown}, {PASSPHRASE_TRIES} times",
            fix="try again, or load the key into the SSH agent with 'ssh-add'",
        )


def _sign(private: PrivateKey, data: bytes) -> bytes:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(data)
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    algorithm = _CURVE_HASHES[private.curve.key_size]()
    pair = decode_dss_signature(private.sign(data, ec.ECDSA(algorithm)))
    return b"".join(_mpint(value) for value in pair)


def _mpint(value: int) -> bytes:
    """Return a positive number as RFC 4251 section 5 writes it, with its length."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return len(data).to_bytes(4, "big") + data


def _read(path: Path) -> bytes:
    shown = one_line(str(path))
    try:
        # Not blocking: opening a named pipe would wait for a writer.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NoUsableKey(
            f"the private key {shown} can't be read: {error.strerror}",
            fix="load the key into the SSH agent with 'ssh-add', or use --pubkey-file with"
            " a key whose private file is beside it",
        ) from None
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_FILE:
            raise NoUsableKey(f"{shown} is not a private key file", fix="use another key")
        # As ssh does: what is another user's, such as a mounted secret, is theirs to protect.
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            raise NoUsableKey(
                f"the private key {shown} can be read by others (mode"
                f" {stat.S_IMODE(status.st_mode):04o})",
                fix=f"run 'chmod 600 {shown}'",
            )
        return stream.read(_MAX_FILE)


def _load(data: bytes, passphrase: bytes | None, shown: str) -> PrivateKey | None:
    """Return the key, or None when it needs a passphrase or another one.

    cryptography says the former with TypeError and the latter with ValueError, which
    without a passphrase means that the file can't be read at all.
    """
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        private = load(data, passphrase)
    except TypeError:
        return None
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None and isinstance(error, ValueError):
            return None
        raise NoUsableKey(
            f"the private key {shown} can't be read: {one_line(str(error), 100)}",
            fix="convert it with 'ssh-keygen -p -f' or make a new one with 'ssh-keygen -t ed25519'",
        ) from None
    if isinstance(
        private, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    ):
        return private
    raise NoUsableKey(f"the key in {shown} is of a type that can't log in", fix="use another key")
