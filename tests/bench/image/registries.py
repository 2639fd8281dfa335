"""Registries as the two ends of a route."""

from __future__ import annotations

import re
import shutil
from typing import Final

from imgctl_core.testing.peers import DockerRegistry
from tests.bench.meters import AccessLog, ProcessMeter, Requests

_REQUEST: Final = re.compile(r'^\S+ - \S+ \[[^]]+\] "([A-Z]+) (\S+) HTTP/', re.MULTILINE)
_READS: Final = re.compile("GET|HEAD")


class RegistrySite:
    """One registry process."""

    def __init__(self, registry: DockerRegistry) -> None:
        self.host = registry.host
        self.meter = ProcessMeter(registry.process.pid)
        self._folder = registry.folder / "data" / "docker"
        self._log = AccessLog(registry.process.log, _REQUEST, _READS)

    @property
    def written_bytes(self) -> int:
        return self.meter.written_bytes

    def begin(self) -> None:
        self._log.begin()

    def requests(self) -> Requests:
        return self._log.count()

    def empty(self) -> None:
        """Remove every repository. The process needs no restart: it remembers nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)


class PlainHttp1(DockerRegistry):
    """A registry without HTTP/2.

    Over HTTP/2 a tool sends all its uploads through one connection; on a line whose rate
    is per connection, as it is per upload at real registries, that would be unfair to it.
    """

    def _config(self) -> str:
        return super()._config().replace("\nhttp:\n", "\nhttp:\n  http2: {disabled: true}\n")
