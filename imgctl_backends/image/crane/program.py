"""Running crane: as a process group that ends when the promotion does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import IO, Final

from imgctl_backends.image.endpoint import ImageSettings
from imgctl_core.context import Context
from imgctl_core.errors import EndpointFailed, InvalidSetting

#: How often a waiting promotion looks at its deadline.
_LOOK_SECONDS: Final = 0.05

#: What crane says is kept up to here: its last words are those that count.
_KEPT_LINES: Final = 40
_LINE_CHARS: Final = 2000

#: Of crane's own environment these variables are handed on; credentials are not.
_HANDED_ON: Final = (
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


@dataclass(frozen=True, slots=True)
class Done:
    """How crane ended, and what it said on the way (the last lines of it)."""

    code: int
    output: bytes
    said: tuple[str, ...]


def find_crane(settings: ImageSettings) -> Path:
    """Return where crane is.

    Raises:
        InvalidSetting: it is not installed.
    """
    found = settings.crane_path or which("crane")
    if found is None or not os.access(found, os.X_OK):
        raise InvalidSetting(
            'engine = "crane" needs the program crane, and there is none '
            + ("on PATH" if settings.crane_path is None else f"at {settings.crane_path}"),
            fix="install crane, name it with crane_path, or leave engine at its default",
        )
    return Path(found).absolute()


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return crane's environment: nothing of ours by which it could log in elsewhere."""
    ours = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    return {**ours, "HOME": str(home), "DOCKER_CONFIG": str(home), **more}


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str],
    context: Context,
    *,
    limit: int,
    heard: Callable[[str], None] = lambda line: None,
) -> Done:
    """Run crane to its end. `heard` gets each line that it says, while it runs.

    Raises:
        Cancelled, DeadlineExceeded: the whole process group is dead then.
        EndpointFailed: its output has more than `limit` bytes.
    """
    context.check()
    process = subprocess.Popen(
        command,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    out, err = process.stdout, process.stderr
    if out is None or err is None:
        raise AssertionError("both pipes were asked for")
    output, said = _Output(limit), _Lines(heard)
    readers = [
        threading.Thread(target=output.drain, args=(out,), name="imgctl-crane-out"),
        threading.Thread(target=said.drain, args=(err,), name="imgctl-crane-err"),
    ]
    for reader in readers:
        reader.start()
    take_back = context.cancel.on_cancel(lambda: _kill(process))
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
            context.check()
            if output.over:
                raise EndpointFailed(f"crane sent more than the {limit} bytes we accept here")
            if said.error is not None:
                raise said.error
            if process.returncode is not None:
                break
    finally:
        take_back()
        _kill(process)
        process.wait()
        for reader in readers:
            reader.join()
        out.close()
        err.close()
    if said.error is not None:
        raise said.error
    return Done(process.returncode, bytes(output.content), tuple(said.lines))


class _Output:
    """What came on standard output, as far as the limit goes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.content = bytearray()
        self.over = False

    def drain(self, pipe: IO[bytes]) -> None:
        while data := pipe.read1(65536):  # type: ignore[attr-defined]
            if len(self.content) <= self._limit:
                self.content += data
            self.over = len(self.content) > self._limit


class _Lines:
    """What came on standard error; what is done with a line may fail."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self.lines: list[str] = []
        self.error: BaseException | None = None

    def drain(self, pipe: IO[bytes]) -> None:
        while line := pipe.readline(_LINE_CHARS):
            text = line.decode("utf-8", "replace").rstrip()
            self.lines = [*self.lines, text][-_KEPT_LINES:]
            try:
                if self.error is None:
                    self._heard(text)
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                self.error = error


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started. Harmless when they ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
