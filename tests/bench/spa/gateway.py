"""versitygw as both ends of a route: a bucket each."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from imgctl_core.testing.peers import VersityGateway
from tests.bench.meters import AccessLog, ProcessMeter, Requests

_READS: Final = re.compile("(Get|Head|List).*")


_MEMORY: Final = Path("/dev/shm")


def memory_folder() -> Path | None:
    """Return a folder in memory where versitygw can keep its attributes, or None.

    On a disk a copy costs the server more than any copier needs for it, and so all
    copiers look alike.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=_MEMORY) as probe:
            os.setxattr(probe.name, "user.probe", b"1")
    except OSError:
        return None
    return _MEMORY


class Gateway(VersityGateway):
    """A versitygw that writes an access log, and keeps connections open as S3 does."""

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__(program, folder)
        self.access_log = folder / "access.log"

    def _command(self) -> list[str]:
        command, *arguments = super()._command()
        return [command, "--keep-alive", "--access-log", str(self.access_log), *arguments]


class BucketSite:
    """One bucket. Its bytes stay inside the server, so how many there are tells nothing."""

    written_bytes = 0

    def __init__(self, gateway: Gateway, bucket: str, meter: ProcessMeter) -> None:
        self.host = f"127.0.0.1:{gateway.port}"
        self.meter = meter
        self.folder = gateway.root / bucket
        self.folder.mkdir(exist_ok=True)
        request = re.compile(
            rf"^\S+ {re.escape(bucket)} \[[^]]+\] \S+ \S+ \S+ s3_(\w+) ", re.MULTILINE
        )
        self._log = AccessLog(gateway.access_log, request, _READS)

    def begin(self) -> None:
        self._log.begin()

    def requests(self) -> Requests:
        return self._log.count()

    def files(self, version: str) -> int:
        """Return how many files a version has here."""
        return sum(len(names) for _, _, names in os.walk(self.folder / version))

    def empty(self) -> None:
        """Remove every object. The process needs no restart: it remembers nothing."""
        for path in self.folder.iterdir():
            shutil.rmtree(path)
