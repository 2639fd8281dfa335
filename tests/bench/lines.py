"""The lines between a promoter and where things are kept: near, and far."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from imgctl_core.testing.peers import ServerProcess, accepts, free_port
from tests.bench.meters import ProcessMeter, Requests

LATENCY_MS: Final = 20
RATE_KB: Final = 25_000


class Site(Protocol):
    """One end of a route: where things are kept, and what can be counted there.

    `host` is where it listens itself, however far away others find it. Two ends may
    have one `meter`: that of the process which serves both.
    """

    host: str
    meter: ProcessMeter

    @property
    def written_bytes(self) -> int:
        """Bytes that it ever wrote, to clients and to its disk; 0 where that tells nothing."""
        ...

    def begin(self) -> None:
        """Count requests from here on."""
        ...

    def requests(self) -> Requests:
        """Return how many came since `begin`."""
        ...

    def empty(self) -> None:
        """Remove everything that is kept there."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """A source and a destination: as imgctl's environments, and as hosts for the others.

    `ends` are what they lead to.
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

    def far(self, name: str, target: str, *, upload_rate: bool = False) -> str:
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
