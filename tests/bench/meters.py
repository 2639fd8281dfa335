"""Measuring: a command from its start to its end, and a server while it works."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_TICKS: Final = os.sysconf("SC_CLK_TCK")

#: A server writes its line about a request after the client has had the answer.
_QUIET_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it took, its own children included.

    `peak_bytes` is the largest resident memory of any one process of it.
    """

    code: int
    output: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(command: Sequence[str], env: Mapping[str, str], timeout: float) -> Ended:
    """Run a command; when the time is up all of it is killed, and its code is -9."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as report:
        process = subprocess.Popen(
            [sys.executable, "-S", "-I", str(_LAUNCHER), str(report.fileno()), *command],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(report.fileno(),),
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
        report.seek(0)
        took = report.read()
    if process.returncode == -signal.SIGKILL:
        return Ended(-signal.SIGKILL, f"{said}\nnot ready in {timeout:g} s", timeout, 0.0, 0)
    return Ended(output=said, **json.loads(took))


class ProcessMeter:
    """What a running process uses, as Linux counts it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    @property
    def cpu_seconds(self) -> float:
        # The name, in parentheses, may hold anything; what follows it is numbers.
        numbers = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / _TICKS

    @property
    def resident_bytes(self) -> int:
        return self._status("VmRSS")

    @property
    def peak_bytes(self) -> int:
        """The most memory since `reset_peak`."""
        return self._status("VmHWM")

    @property
    def written_bytes(self) -> int:
        """Bytes handed to write calls: to sockets and to files alike."""
        found = re.search(r"^wchar: (\d+)$", (self._folder / "io").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def reset_peak(self) -> None:
        (self._folder / "clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        text = (self._folder / "status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


@dataclass(frozen=True, slots=True)
class Requests:
    """How many requests came, and how many of them to change something."""

    all: int
    changes: int


class AccessLog:
    """Counts the requests that a server says it answered.

    `request` finds one in a line of the log, and what kind it is as its first group;
    `reads` matches the kinds that change nothing.
    """

    def __init__(self, path: Path, request: re.Pattern[str], reads: re.Pattern[str]) -> None:
        self._path = path
        self._request = request
        self._reads = reads
        self._begin = 0

    def begin(self) -> None:
        """Count from here on."""
        self._begin = self._settled()

    def count(self) -> Requests:
        end = self._settled()
        with self._path.open("rb") as stream:
            stream.seek(self._begin)
            text = stream.read(end - self._begin).decode("utf-8", "replace")
        kinds = [found[1] for found in self._request.finditer(text)]
        return Requests(len(kinds), sum(self._reads.fullmatch(kind) is None for kind in kinds))

    def _settled(self) -> int:
        size = -1
        while size != (size := self._path.stat().st_size):
            time.sleep(_QUIET_SECONDS)
        return size
