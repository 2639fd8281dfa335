"""The programs that the benchmark runs: where they are, and which versions they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from imgctl_core.testing.peers import PROGRAMS, find_program
from tests.bench.meters import run

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = ROOT / ".peers" / "bin"
IMGCTL: Final = str(Path(sys.executable).with_name("imgctl"))

_HOW: Final = {**PROGRAMS, "go": "https://go.dev/dl"}


class ProgramMissing(Exception):
    """A program that the benchmark measures against, or with, is not installed."""


def program(name: str) -> Path:
    """Return where a program is.

    Raises:
        ProgramMissing: it is nowhere.
    """
    found = find_program(name, (PEERS,))
    if found is None:
        raise ProgramMissing(f"{name} is not installed: {_HOW.get(name, 'make peers')}")
    return found


def versions(asked: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what each program says of its version when it is called like this.

    Raises:
        ProgramMissing: one is nowhere.
    """
    return {name: _version([str(program(name)), *how]) for name, how in asked.items()}


def _version(command: Sequence[str]) -> str:
    ended = run(command, {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}, 30)
    words = (ended.output.strip().splitlines() or ["unknown"])[0].split()
    # `aws-cli/1.46.3 Python/3.11.7 …` names more than itself.
    word = words[0].partition("/")[2] if "/" in words[0] else words[-1]
    return word.removeprefix("v").strip("'\"")
