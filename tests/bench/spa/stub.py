"""The S3 server that answers at once: stub.go, built when it is needed."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from imgctl_core.testing.peers import ServerProcess
from tests.bench.meters import ProcessMeter, Requests
from tests.bench.programs import program

_SOURCE: Final = Path(__file__).with_name("stub.go")


class Stub:
    """A process of the stub. Its bucket `source` holds every version there can be."""

    def __init__(self, folder: Path, source: str) -> None:
        self.source = source
        self.host = ""
        self._folder = folder

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        built = self._folder / "stub"
        subprocess.run([str(program("go")), "build", "-o", str(built), str(_SOURCE)], check=True)
        self.process = ServerProcess(
            [str(built), "-source", self.source], self._folder / "log.txt", {}
        )
        self.process.wait_until(self._listening)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()

    def tell(self, word: str) -> Mapping[str, Any]:
        """Tell it `begin`, `report` or `empty`, and return its counts."""
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            connection.request("GET", f"/-/{word}")
            said = connection.getresponse().read()
        finally:
            connection.close()
        counts: Mapping[str, Any] = json.loads(said)
        return counts

    def _listening(self) -> bool:
        said = re.search(r"listening on (\S+)", self.process.log.read_text("utf-8", "replace"))
        if said:
            self.host = said[1]
        return said is not None


class StubSite:
    """One end of a copy at the stub."""

    written_bytes = 0

    def __init__(self, stub: Stub, end: str, meter: ProcessMeter) -> None:
        self.host = stub.host
        self.meter = meter
        self._stub = stub
        self._end = end

    def begin(self) -> None:
        self._stub.tell("begin")

    def requests(self) -> Requests:
        return Requests(**self._stub.tell("report")[self._end])

    def empty(self) -> None:
        self._stub.tell("empty")
