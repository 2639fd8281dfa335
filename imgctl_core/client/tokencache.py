"""OIDC tokens on disk, so that a person logs in once in a while and not for every command.

A file holds one token and nothing else. It is used only when it is a plain file of our
own that nobody else may read, in a directory of our own; anything else is treated as if it
were not there. Nothing here ever stops a login; only a logout that fails says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator

from imgctl_core.client.tokens import LoginSettings, Token, read_token

EARLY = 60.0
"""Seconds before its end from which on a token is not used any more."""

_MAX_FILE = 64 * 1024
_ENTRY = re.compile(r"[0-9a-f]{64}\.jwt|\.[0-9a-f]{64}\.jwt\.[0-9a-f]{16}", re.ASCII)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def default_directory() -> str:
    """Return $XDG_CACHE_HOME/imgctl, by default ~/.cache/imgctl; empty without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # The XDG specification: relative paths are ignored.
        base = os.path.expanduser("~/.cache")  # noqa: PTH111 - pathlib is dear at start-up
    return f"{base}/imgctl" if base.startswith("/") else ""


def entry_name(settings: LoginSettings, *, key: str) -> str:
    """Return the file name for what this login would give: one token for one purpose.

    `key` tells keys apart; the user name, which must be filled in, and the connector
    stand beside it because they are part of who the token is for.
    """
    purpose = (
        settings.dex_url.rstrip("/"),
        settings.audience_mode,
        settings.wanted_audience,
        settings.client_id,
        settings.connector_id,
        settings.username,
        key,
    )
    return hashlib.sha256(json.dumps(purpose).encode("ascii")).hexdigest() + ".jwt"


class TokenCache:
    """The tokens in one directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def load(self, name: str, now: float) -> Token | None:
        """Return the token of that name unless it ends within a minute; then drop it."""
        try:
            with self._open() as directory:
                token = read_token(_read(directory, name))
                if token.expires_at - now > EARLY:
                    return token
                os.unlink(name, dir_fd=directory)
        except (OSError, ValueError):
            pass
        return None

    def store(self, name: str, token: Token) -> bool:
        """Keep a token, replacing the old one in one step. Return whether that worked."""
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)  # noqa: PTH103
            with self._open() as directory:
                _write(directory, name, token.value)
        except OSError:
            return False
        return True

    def forget(self, meant: Callable[[Token], bool]) -> int:
        """Remove the tokens that are meant, and return how many that were.

        What can't be used goes in any case: what an interrupted write left behind, and
        files that others may read.

        Raises:
            OSError: the directory can't be read, or a file not removed.
        """
        gone = 0
        # Nothing was cached, or somebody else logs out just now.
        missing = contextlib.suppress(FileNotFoundError)
        with missing, self._open() as directory:
            for name in filter(_ENTRY.fullmatch, os.listdir(directory)):  # noqa: PTH208 - an open one
                token = _held(directory, name)
                if token is None or meant(token):
                    with missing:
                        os.unlink(name, dir_fd=directory)
                        gone += name.endswith(".jwt")
        return gone

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """Open the directory, narrowing it when it is ours and too wide."""
        directory = os.open(self._directory, _DIRECTORY)
        try:
            status = os.fstat(directory)
            if status.st_uid != os.geteuid():
                raise PermissionError("the cache directory belongs to another user")
            if status.st_mode & 0o077:
                os.fchmod(directory, 0o700)
            yield directory
        finally:
            os.close(directory)


def _held(directory: int, name: str) -> Token | None:
    try:
        return read_token(_read(directory, name))
    except (OSError, ValueError):
        return None


def _read(directory: int, name: str) -> str:
    # Not blocking: opening a named pipe would wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(name, flags, dir_fd=directory), "rb") as file:
        status = os.fstat(file.fileno())
        private = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o077
        if not private or status.st_uid != os.geteuid() or status.st_size > _MAX_FILE:
            raise PermissionError("not a private file of our own")
        return file.read(_MAX_FILE).decode("ascii")


def _write(directory: int, name: str, text: str) -> None:
    temporary = f".{name}.{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(text.encode("ascii"))
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
