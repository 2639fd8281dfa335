"""Everything a copy needs: registries over TLS, lines to them, an issuer, an imgctl server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from imgctl_core.testing.faultproxy import HttpFaultProxy
from imgctl_core.testing.issuer import Issuer, User
from imgctl_core.testing.peers import (
    PROGRAMS,
    DockerRegistry,
    ServerProcess,
    find_program,
)
from imgctl_core.testing.tls import TlsFiles, make_tls_files
from tests.bench.images import Loader
from tests.bench.lines import PlainHttp1, Route, Site, Toxiproxy
from tests.bench.meters import Ended, ProcessMeter, run

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = ROOT / ".peers" / "bin"
IMGCTL: Final = str(Path(sys.executable).with_name("imgctl"))

_CLIENT_ID, _CLIENT_SECRET = "imgctl-cli", "bench-secret"
_TIMEOUT: Final = 900.0


class ProgramMissing(Exception):
    """A program that the benchmark measures against, or with, is not installed."""


def program(name: str) -> Path:
    """Return where a program is.

    Raises:
        ProgramMissing: it is nowhere.
    """
    found = find_program(name, (PEERS,))
    if found is None:
        raise ProgramMissing(f"{name} is not installed: {PROGRAMS.get(name, 'make peers')}")
    return found


class World:
    """Use it in a `with`: everything is gone afterwards.

    `near`, `far` and `broken` are routes between registries, those of `far` without
    HTTP/2. What passes `broken` passes `faults`, the source's proxy and the destination's.
    `rival_env` holds what other tools need. `idle_bytes` is the server's memory after its
    first promotions.
    """

    near: Route
    far: Route
    broken: Route
    server: ProcessMeter

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: tuple[HttpFaultProxy, HttpFaultProxy]
        self.rival_env: dict[str, str] = {}
        self.client_env: dict[str, str] = {}
        self.idle_bytes = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def ca_file(self) -> Path:
        return self.folder / "tls" / "ca.pem"

    @property
    def routes(self) -> tuple[Route, ...]:
        return self.near, self.far, self.broken

    def loader(self, route: Route) -> Loader:
        """Return what fills the source of a route. Close it."""
        return Loader(route.ends[0].registry.host, self.ca_file)

    def empty(self) -> None:
        """Empty every registry."""
        for route in self.routes:
            for site in route.ends:
                site.empty()

    def promote(self, *arguments: str) -> Ended:
        """Run `imgctl promote` as a user would."""
        return run([IMGCTL, "promote", *arguments], self.client_env, _TIMEOUT)

    def last_record(self) -> Mapping[str, Any]:
        """Return the newest record of the server's audit log."""
        with (self.folder / "audit.jsonl").open("rb") as stream:
            last = stream.readlines()[-1]
        record: Mapping[str, Any] = json.loads(last)
        return record

    def _build(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        tls = make_tls_files(self.folder / "tls")
        near = self._ends(DockerRegistry, "near", tls)
        far = self._ends(PlainHttp1, "far", tls)
        self.near = Route("dev", "prod", near[0].registry.host, near[1].registry.host, near)
        toxiproxy = Toxiproxy(program("toxiproxy-server"), self.folder / "toxiproxy")
        self._stack.callback(toxiproxy.process.stop)
        self.far = Route(
            "far-dev",
            "far-prod",
            toxiproxy.far("source", far[0].registry.host, upload_rate=False),
            toxiproxy.far("destination", far[1].registry.host, upload_rate=True),
            far,
        )
        first, second = (
            self._stack.enter_context(
                HttpFaultProxy(
                    site.registry.url, upstream_ca=tls.ca, tls_cert=tls.cert, tls_key=tls.key
                )
            )
            for site in near
        )
        self.faults = (first, second)
        self.broken = Route("broken-dev", "broken-prod", first.host, second.host, near)
        self.rival_env = self._rival_env()
        self._start_server()
        self._warm_up()

    def _ends(self, kind: type[DockerRegistry], name: str, tls: TlsFiles) -> tuple[Site, Site]:
        source, destination = (
            Site(
                self._stack.enter_context(
                    kind(program("docker-registry"), self.folder / f"{name}-{end}", tls=tls)
                )
            )
            for end in ("source", "destination")
        )
        return source, destination

    def _rival_env(self) -> dict[str, str]:
        home = self.folder / "rivals"
        (home / "runtime").mkdir(parents=True, mode=0o700)
        (home / "certs").mkdir()
        shutil.copy(self.ca_file, home / "certs" / "ca.crt")
        return {
            "PATH": f"{PEERS}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "runtime"),
            "DOCKER_CONFIG": str(home / "docker"),
            "SSL_CERT_FILE": str(self.ca_file),
        }

    def _start_server(self) -> None:
        home = self.folder / "home"
        home.mkdir()
        key = home / "id_ed25519"
        subprocess.run(
            [str(program("ssh-keygen")), "-q", "-t", "ed25519", "-N", "", "-f", str(key)],
            check=True,
        )
        public = key.with_suffix(".pub")
        users = {"alice": User(keys=(public.read_text().strip(),), groups=("eng",))}
        issuer = self._stack.enter_context(Issuer(users, {_CLIENT_ID: _CLIENT_SECRET}))
        config = self.folder / "server.toml"
        config.write_text(self._server_config(issuer.url))
        process = ServerProcess(
            [IMGCTL, "server", "--config", str(config)],
            self.folder / "server.log",
            {"AWS_EC2_METADATA_DISABLED": "true"},
        )
        self._stack.callback(process.stop)

        def said() -> str:
            return process.log.read_text("utf-8", "replace")

        process.wait_until(lambda: "serving on " in said())
        found = re.search(r"serving on (\S+)", said())
        assert found is not None
        self.server = ProcessMeter(process.pid)
        self.client_env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "IMGCTL_SERVER": found[1],
            "DEX_URL": issuer.url,
            "IMGCTL_CLIENT_ID": _CLIENT_ID,
            "IMGCTL_CLIENT_SECRET": _CLIENT_SECRET,
            "IMGCTL_PUBKEY_FILE": str(public),
            "KUBECTL_SSH_USER": "alice",
        }

    def _server_config(self, issuer: str) -> str:
        lines = [
            "[server]",
            'bind_address = "127.0.0.1:0"',
            f'audit_log = "{self.folder / "audit.jsonl"}"',
            "[oidc]",
            f'issuer_url = "{issuer}"',
            'audience = "https://127.0.0.1"',
            'allowed_groups = ["eng"]',
        ]
        for route in self.routes:
            ends = ((route.source, route.source_host), (route.destination, route.destination_host))
            for name, host in ends:
                lines += [
                    f"[environments.{name}.image]",
                    f'registry = "https://{host}"',
                    f'ca_file = "{self.ca_file}"',
                ]
        return "\n".join(lines) + "\n"

    def _warm_up(self) -> None:
        """Let the server import what it needs, and the client get its token."""
        for route in self.routes:
            with contextlib.closing(self.loader(route)) as loader:
                loader.image("warm/up", "v1", [loader.layer("warm/up", 1000)])
            route.ends[1].empty()
            done = self.promote(
                "warm/up:v1", "--source", route.source, "--destination", route.destination
            )
            if done.code:
                log = (self.folder / "server.log").read_text("utf-8", "replace")[-4000:]
                raise RuntimeError(f"the first promotion failed: {done.output}\n{log}")
        self.idle_bytes = self.server.resident_bytes
