"""The lines between a promoter and the registries: near, far, and broken."""

from __future__ import annotations

import http.client
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from imgctl_core.testing.peers import DockerRegistry, ServerProcess, accepts, free_port
from tests.bench.meters import AccessLog, ProcessMeter

LATENCY_MS: Final = 20
RATE_KB: Final = 25_000


class Site:
    """One registry process, and what can be counted at it."""

    def __init__(self, registry: DockerRegistry) -> None:
        self.registry = registry
        self.meter = ProcessMeter(registry.process.pid)
        self.log = AccessLog(registry.process.log)

    def empty(self) -> None:
        """Remove every repository. The process needs no restart: it remembers nothing."""
        shutil.rmtree(self.registry.folder / "data" / "docker", ignore_errors=True)


class PlainHttp1(DockerRegistry):
    """A registry without HTTP/2.

    Over HTTP/2 a tool sends all its uploads through one connection; on a line whose rate
    is per connection, as it is per upload at real registries, that would be unfair to it.
    """

    def _config(self) -> str:
        return super()._config().replace("\nhttp:\n", "\nhttp:\n  http2: {disabled: true}\n")


@dataclass(frozen=True, slots=True)
class Route:
    """A source and a destination: as imgctl's environments, and as hosts for the others.

    `ends` are the two registries that they lead to.
    """

    source: str
    destination: str
    source_host: str
    destination_host: str
    ends: tuple[Site, Site]


class Toxiproxy:
    """A toxiproxy process: distance between programs of one machine."""

    def __init__(self, program: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        self.process = ServerProcess(
            [str(program), "-host", "127.0.0.1", "-port", str(self._port)],
            folder / "log.txt",
            {"LOG_LEVEL": "error"},
        )
        self.process.wait_until(lambda: accepts(self._port))

    def far(self, name: str, target: str, *, upload_rate: bool) -> str:
        """Return where `target` can be reached from far away.

        Every byte takes `LATENCY_MS` each way. With `upload_rate` no connection carries
        more than `RATE_KB` (of 1,000 bytes) a second to the target.
        """
        made = self._post(
            "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": target, "enabled": True}
        )
        for stream in ("upstream", "downstream"):
            self._toxic(name, "latency", stream, {"latency": LATENCY_MS})
        if upload_rate:
            self._toxic(name, "bandwidth", "upstream", {"rate": RATE_KB})
        return str(made["listen"])

    def _toxic(self, proxy: str, kind: str, stream: str, attributes: dict[str, int]) -> None:
        toxic = {"type": kind, "stream": stream, "attributes": attributes}
        self._post(f"/proxies/{proxy}/toxics", toxic)

    def _post(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("POST", path, json.dumps(content))
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status not in (200, 201):
            raise RuntimeError(f"toxiproxy says {answer.status} to {path}: {said[:300]!r}")
        made: dict[str, Any] = json.loads(said)
        return made
