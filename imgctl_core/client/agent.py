"""The SSH agent: what it holds, and signatures from it, each within a time limit.

paramiko has the messages and the keys; the connection is ours. paramiko's own gives no
keys and no reason when the agent is locked, stale or not there, waits for ever for one
that hangs, and loses the whole list to one entry that it can't read.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from paramiko.agent import AgentKey, AgentSSH
from paramiko.message import Message
from paramiko.ssh_exception import SSHException

from imgctl_core.client.sshkeys import PublicKey, unusable
from imgctl_core.errors import AgentUnavailable, NoUsableKey
from imgctl_core.text import one_line

LIST_SECONDS = 5.0
"""How long the agent may take to list its keys."""

SIGN_SECONDS = 60.0
"""How long it may take to sign: it may be asking a person to confirm."""

NOTICE_SECONDS = 2.0
"""After how long the person at the terminal is told what is being waited for."""

_MAX_REPLY = 1024 * 1024
# OpenSSH refuses to read longer lists (authfd.c, MAX_AGENT_IDENTITIES).
_MAX_KEYS = 2048
_LIST, _LISTED = 11, 12
_EXTENSION, _SUCCESS = 27, 6


class AgentSigner:
    """A private key that an agent holds."""

    def __init__(self, connection: _Connection, held: AgentKey, key: PublicKey) -> None:
        self._connection = connection
        self._held = held
        self.key = key

    def sign(self, data: bytes) -> bytes:
        """Sign as `Signer` says. RSA keys sign with SHA-1, which is all that Dex takes.

        Raises:
            NoUsableKey: the agent refuses this key, as it does one bound to certain
                hosts or one whose use was not confirmed, or signed in another format.
            AgentUnavailable: it hung or went away.
        """
        self._connection.allow(SIGN_SECONDS)
        try:
            # No algorithm means flags 0, which for RSA asks for SHA-1.
            reply = Message(bytes(self._held.sign_ssh_data(data)))
        except SSHException:
            raise NoUsableKey(
                f"the SSH agent refuses to sign with {self.key}",
                fix="confirm its use when the agent asks; a key that was added with"
                " 'ssh-add -h' signs for its hosts only",
            ) from None
        format, blob = reply.get_binary(), reply.get_binary()
        if format != self.key.type.encode("ascii") or not blob or reply.get_remainder():
            raise NoUsableKey(
                f"the SSH agent signed as {one_line(repr(format), 60)} with {self.key},"
                " which Dex can't verify",
                fix="use an Ed25519 key",
            )
        return blob


class Agent:
    """A conversation with the SSH agent whose socket is at `path`; a context manager.

    `signers` are the keys that can log in, best first; `skipped` has a line for each of
    the others that says why not.

    Raises:
        AgentUnavailable: nobody listens there, the agent is locked, it hung, or what answered is
            no agent.
    """

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self._connection = _Connection(path, say)
        try:
            self.signers, self.skipped = self._list()
            if not self.signers and not self.skipped and not self._unlocked():
                raise AgentUnavailable(
                    f"the SSH agent at {one_line(path, 200)} shows no keys and looks locked",
                    fix="unlock it with 'ssh-add -X', or give it a key with 'ssh-add'",
                )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def holder_of(self, key: PublicKey) -> AgentSigner | None:
        """Return what signs with this very key, None when the agent doesn't hold it."""
        return next((signer for signer in self.signers if signer.key.blob == key.blob), None)

    def _list(self) -> tuple[tuple[AgentSigner, ...], tuple[str, ...]]:
        self._connection.allow(LIST_SECONDS)
        kind, reply = self._connection._send_message(bytes([_LIST]))
        if kind != _LISTED:
            raise self._connection.failed("does not list its keys")
        signers: list[AgentSigner] = []
        skipped: list[str] = []
        for _ in range(min(reply.get_int(), _MAX_KEYS)):
            blob, comment = reply.get_binary(), reply.get_binary()
            if not blob:
                break
            entry = self._entry(blob, comment.decode("utf-8", "replace"))
            if isinstance(entry, str):
                skipped.append(entry)
            else:
                signers.append(entry)
        signers.sort(key=lambda signer: signer.key.rank)
        return tuple(signers), tuple(skipped)

    def _entry(self, blob: bytes, comment: str) -> AgentSigner | str:
        shown = one_line(comment, 60) or "without a comment"
        try:
            held = AgentKey(self._connection, blob, comment)
        except (SSHException, ValueError) as error:
            return f"skipped the agent's key {shown}: it can't be read ({one_line(str(error))})"
        if reason := unusable(held.name):
            return f"skipped the agent's key {shown}: {reason}"
        return AgentSigner(self._connection, held, PublicKey(held.name, blob, comment))

    def _unlocked(self) -> bool:
        """Tell an agent without keys from a locked one, which shows an empty list too.

        A locked agent answers everything but that list with a failure. Binding the
        connection to a session is what an unlocked one (OpenSSH >= 8.9) accepts without
        any lasting effect: it limits this connection, which is not used again.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        host = Ed25519PrivateKey.generate()
        session = os.urandom(32)
        bind = Message()
        bind.add_byte(bytes([_EXTENSION]))
        bind.add_string("session-bind@openssh.com")
        for part in (
            _fields(b"ssh-ed25519", host.public_key().public_bytes_raw()),
            session,
            _fields(b"ssh-ed25519", host.sign(session)),
        ):
            bind.add_string(part)
        bind.add_boolean(False)
        self._connection.allow(LIST_SECONDS)
        kind, _ = self._connection._send_message(bind.asbytes())
        return kind == _SUCCESS


def _fields(*parts: bytes) -> bytes:
    message = Message()
    for part in parts:
        message.add_string(part)
    return message.asbytes()


class _Connection(AgentSSH):
    """paramiko's agent, speaking over a socket that never waits longer than allowed."""

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        super().__init__()
        self._path = path
        self._say = say
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.allow(LIST_SECONDS)
        try:
            self._socket.settimeout(LIST_SECONDS)
            self._socket.connect(path)
        except (TimeoutError, BlockingIOError):
            # The latter when its queue is full: a socket with a limit doesn't wait for room.
            self.close()
            raise self._hung() from None
        except OSError as error:
            self.close()
            raise AgentUnavailable(
                f"no SSH agent listens at SSH_AUTH_SOCK ({one_line(path, 200)}):"
                f" {error.strerror or error}",
                fix="the agent of an older session is gone; start one with"
                " 'eval $(ssh-agent)' and give it a key with 'ssh-add'",
            ) from None

    def allow(self, seconds: float) -> None:
        """Let what follows take this long in all."""
        now = time.monotonic()
        self._deadline, self._notice_at = now + seconds, now + NOTICE_SECONDS

    def close(self) -> None:
        self._socket.close()

    def failed(self, what: str) -> AgentUnavailable:
        return AgentUnavailable(
            f"the SSH agent at {one_line(self._path, 200)} {what}",
            fix="restart it, or use --pubkey-file with a key whose private file is beside it",
        )

    def _hung(self) -> AgentUnavailable:
        return self.failed("does not answer")

    def _send_message(self, msg: bytes | Message) -> tuple[int, Message]:
        """Send a request and return the reply's type and content. AgentKey calls it too."""
        data = bytes(msg)
        try:
            self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
            self._socket.sendall(struct.pack(">I", len(data)) + data)
            (length,) = struct.unpack(">I", self._read(4))
            if not 0 < length <= _MAX_REPLY:
                raise self.failed("answered with something that is no agent's reply")
            reply = self._read(length)
        except TimeoutError:
            raise self._hung() from None
        except OSError as error:
            raise self.failed(f"broke the connection: {error.strerror or error}") from None
        return reply[0], Message(reply[1:])

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._receive(size - len(data))
            if not chunk:
                raise self.failed("closed the connection")
            data += chunk
        return data

    def _receive(self, size: int) -> bytes:
        now = time.monotonic()
        if now < self._notice_at < self._deadline:
            self._socket.settimeout(self._notice_at - now)
            try:
                return self._socket.recv(size)
            except TimeoutError:
                self._notice_at = 0.0
                self._say("waiting for the SSH agent; it may be asking for a confirmation")
        self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
        return self._socket.recv(size)
