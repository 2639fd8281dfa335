"""The world of images: registries over TLS, and lines to them."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from imgctl_core.testing.faultproxy import HttpFaultProxy
from imgctl_core.testing.peers import DockerRegistry
from imgctl_core.testing.tls import TlsFiles, make_tls_files
from tests.bench.image.images import Loader
from tests.bench.image.registries import PlainHttp1, RegistrySite
from tests.bench.lines import Route, Toxiproxy
from tests.bench.programs import PEERS, program
from tests.bench.world import World


class ImageWorld(World):
    """Registries, near, far and broken.

    `near`, `far` and `broken` are routes between registries, those of `far` without
    HTTP/2. What passes `broken` passes `faults`, the source's proxy and the destination's.
    """

    near: Route
    far: Route
    broken: Route
    faults: tuple[HttpFaultProxy, HttpFaultProxy]

    @property
    def ca_file(self) -> Path:
        return self.folder / "tls" / "ca.pem"

    def loader(self, route: Route) -> Loader:
        """Return what fills the source of a route. Close it."""
        return Loader(route.ends[0].host, self.ca_file)

    def _build(self) -> None:
        tls = make_tls_files(self.folder / "tls")
        near = self._ends(DockerRegistry, "near", tls)
        far = self._ends(PlainHttp1, "far", tls)
        self.near = Route("dev", "prod", near[0].host, near[1].host, near)
        toxiproxy = Toxiproxy(program("toxiproxy-server"), self.folder / "toxiproxy")
        self._stack.callback(toxiproxy.process.stop)
        self.far = Route(
            "far-dev",
            "far-prod",
            toxiproxy.far("source", far[0].host),
            toxiproxy.far("destination", far[1].host, upload_rate=True),
            far,
        )
        first, second = (
            self._stack.enter_context(
                HttpFaultProxy(
                    f"https://{site.host}",
                    upstream_ca=tls.ca,
                    tls_cert=tls.cert,
                    tls_key=tls.key,
                )
            )
            for site in near
        )
        self.faults = (first, second)
        self.broken = Route("broken-dev", "broken-prod", first.host, second.host, near)
        self.routes = (self.near, self.far, self.broken)
        self.rival_env = self._rival_env()
        self._start_server(self._environments(), {})

    def _fill(self, route: Route) -> str:
        with contextlib.closing(self.loader(route)) as loader:
            loader.image("warm/up", "v1", [loader.layer("warm/up", 1000)])
        return "warm/up:v1"

    def _ends(
        self, kind: type[DockerRegistry], name: str, tls: TlsFiles
    ) -> tuple[RegistrySite, RegistrySite]:
        source, destination = (
            RegistrySite(
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

    def _environments(self) -> list[str]:
        lines = []
        for route in self.routes:
            ends = ((route.source, route.source_host), (route.destination, route.destination_host))
            for name, host in ends:
                lines += [
                    f"[environments.{name}.image]",
                    f'registry = "https://{host}"',
                    f'ca_file = "{self.ca_file}"',
                ]
        return lines
