"""What every part that copies needs: an issuer, a warm imgctl server, a logged-in client."""

from __future__ import annotations

import json
import os
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from imgctl_core.testing.issuer import Issuer, User
from imgctl_core.testing.peers import ServerProcess
from tests.bench.lines import Route
from tests.bench.meters import Ended, ProcessMeter, run
from tests.bench.programs import IMGCTL, program

_CLIENT_ID, _CLIENT_SECRET = "imgctl-cli", "bench-secret"
_TIMEOUT: Final = 900.0


class World(ABC):
    """Use it in a `with`: everything is gone afterwards.

    `rival_env` holds what other tools need. `idle_bytes` is the server's memory after its
    first promotions, one on each of `routes`.
    """

    routes: tuple[Route, ...] = ()
    server: ProcessMeter

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rival_env: dict[str, str] = {}
        self.client_env: dict[str, str] = {}
        self.idle_bytes = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._build()
            self._warm_up()
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

    def empty(self) -> None:
        """Empty both ends of every route."""
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

    @abstractmethod
    def _build(self) -> None:
        """Make the routes, and start a server that knows their ends."""

    @abstractmethod
    def _fill(self, route: Route) -> str:
        """Put something small into the source of a route and return its reference."""

    def _start_server(self, environments: Sequence[str], env: Mapping[str, str]) -> None:
        """Start an imgctl server: its settings' lines about environments, its variables."""
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
        config.write_text("\n".join([*self._settings(issuer.url), *environments]) + "\n")
        process = ServerProcess(
            [IMGCTL, "server", "--config", str(config)],
            self.folder / "server.log",
            {"AWS_EC2_METADATA_DISABLED": "true", **env},
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

    def _settings(self, issuer: str) -> Sequence[str]:
        return (
            "[server]",
            'bind_address = "127.0.0.1:0"',
            f'audit_log = "{self.folder / "audit.jsonl"}"',
            "[oidc]",
            f'issuer_url = "{issuer}"',
            'audience = "https://127.0.0.1"',
            'allowed_groups = ["eng"]',
        )

    def _warm_up(self) -> None:
        """Let the server import what it needs, and the client get its token."""
        for route in self.routes:
            ref = self._fill(route)
            route.ends[1].empty()
            done = self.promote(ref, "--source", route.source, "--destination", route.destination)
            if done.code:
                log = (self.folder / "server.log").read_text("utf-8", "replace")[-4000:]
                raise RuntimeError(f"the first promotion failed: {done.output}\n{log}")
        self.idle_bytes = self.server.resident_bytes
