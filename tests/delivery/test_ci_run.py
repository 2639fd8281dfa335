""".ci/run fails when anything fails, is missing, or did not run at all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ci(outline: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs .ci/run with a make that does as it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    make = folder / "make"

    def call(**results: str) -> subprocess.CompletedProcess[str]:
        cases = "".join(f"{name.replace('_', '-')}) {does} ;;\n" for name, does in results.items())
        make.write_text(f'#!/bin/sh\necho "make $1"\ncase $1 in\n{cases}esac\n')
        make.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        return run("bash", ".ci/run", cwd=outline, check=False)

    return call


GOOD = "echo '==== 812 passed, 3 skipped in 9.87s ===='"


def test_runs_everything_and_ends_with_the_summary(ci: Run) -> None:
    done = ci(test=GOOD)
    assert done.returncode == 0, done.stderr
    ran = [line for line in done.stdout.splitlines() if line.startswith("make ")]
    assert ran == [
        f"make {name}" for name in ("peers", "lint", "test", "build", "smoke", "test-lowest")
    ]
    assert done.stdout.splitlines()[-1] == "==== 812 passed, 3 skipped in 9.87s ===="


@pytest.mark.parametrize("target", ["peers", "lint", "build", "smoke", "test_lowest"])
def test_fails_when_a_target_fails(ci: Run, target: str) -> None:
    done = ci(**{"test": GOOD, target: "exit 1"})
    assert done.returncode != 0


@pytest.mark.parametrize(
    "does",
    [
        f"{GOOD}; exit 1",
        "echo '==== no tests ran in 0.01s ===='; exit 5",
        "echo '==== no tests ran in 0.01s ===='",
        "echo '==== 900 skipped in 1.00s ===='",
        "echo '==== 2 passed, 900 skipped in 1.00s ===='",
        "true",
    ],
)
def test_fails_when_tests_fail_or_do_not_run(ci: Run, does: str) -> None:
    assert ci(test=does).returncode != 0


def test_peers_are_required(ci: Run) -> None:
    done = ci(test=f"echo required=$IMGCTL_REQUIRE_PEERS ci=$CI; {GOOD}")
    assert "required=1 ci=true" in done.stdout
