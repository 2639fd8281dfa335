"""Real SSH keys and a real SSH agent, through OpenSSH's own programs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from imgctl_core.testing.peers import ServerProcess

# ssh-add asks again for ever after a wrong passphrase, unless the asking itself fails.
_ASKER: Final = """#!/bin/sh
case "$1" in Bad*) exit 1 ;; esac
printf '%s\\n' "$IMGCTL_TEST_PASSPHRASE"
"""


@dataclass(frozen=True, slots=True)
class SshKeyFiles:
    """A key pair on disk. `line` is the public key, as in an authorized_keys file."""

    private: Path
    public: Path
    line: str


def make_ssh_key(
    directory: Path,
    kind: str = "ed25519",
    *,
    bits: int | None = None,
    passphrase: str = "",
    comment: str = "alice@example.com",
    name: str = "",
    pem: bool = False,
) -> SshKeyFiles:
    """Make a key with ssh-keygen. `pem` writes the older PEM form of the private key."""
    directory.mkdir(parents=True, exist_ok=True)
    private = directory / (name or f"id_{kind}")
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", comment, "-f", str(private)]
    command += ["-b", str(bits)] if bits else []
    command += ["-m", "PEM"] if pem else []
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    public = private.with_name(f"{private.name}.pub")
    return SshKeyFiles(private, public, public.read_text("utf-8").strip())


class SshAgent:
    """A running ssh-agent. `socket` is what SSH_AUTH_SOCK should name."""

    def __init__(self) -> None:
        # A socket's path may have 107 characters: too few for pytest's own folders.
        self._folder = Path(tempfile.mkdtemp(prefix="imgctl-agent-"))
        self.socket = self._folder / "s"

    def __enter__(self) -> Self:
        self.process = ServerProcess(
            ["ssh-agent", "-D", "-a", str(self.socket)], self._folder / "log.txt", {}
        )
        self.process.wait_until(self._listens)
        return self

    def _listens(self) -> bool:
        # The socket's file is there a moment before anyone listens at it.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def env(self) -> Mapping[str, str]:
        """What to set in the environment of a program that should see this agent."""
        return {"SSH_AUTH_SOCK": str(self.socket)}

    def add(self, private: Path, *options: str, passphrase: str = "") -> None:
        """Load a private key. `options` go to ssh-add, as `-c` does."""
        self._ssh_add([*options, str(private)], passphrase)

    def remove(self, private: Path) -> None:
        self._ssh_add(["-d", str(private)], "")

    def lock(self, passphrase: str) -> None:
        """Lock the agent: it then lists no keys and signs nothing."""
        self._ssh_add(["-x"], passphrase)

    def unlock(self, passphrase: str) -> None:
        self._ssh_add(["-X"], passphrase)

    def _ssh_add(self, arguments: list[str], passphrase: str) -> None:
        env = {"PATH": os.environ.get("PATH", os.defpath), **self.env}
        asker = self._folder / "ask"
        asker.write_text(_ASKER, "utf-8")
        asker.chmod(0o700)
        env |= {
            "SSH_ASKPASS": str(asker),
            "SSH_ASKPASS_REQUIRE": "force",
            "IMGCTL_TEST_PASSPHRASE": passphrase,
        }
        done = subprocess.run(
            ["ssh-add", "-q", *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"ssh-add failed: {done.stderr.strip() or done.stdout.strip()}")
