"""The make targets set up what they need, and say what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: What a fresh machine has, beside make, git and a Python.
BASE = (
    "sh",
    "make",
    "git",
    "awk",
    "basename",
    "cat",
    "chmod",
    "cut",
    "dirname",
    "env",
    "id",
    "mkdir",
    "mktemp",
    "rm",
    "touch",
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a folder that is the whole PATH, with no Python on it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in BASE:
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)
    return folder


@pytest.fixture
def at(outline: Path, machine: Path, run: Run) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs make on that machine."""

    def make(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return run("make", *arguments, cwd=outline, env={"PATH": str(machine), **env}, check=False)

    return make


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text("#!/bin/sh\n" + text)
    (folder / name).chmod(0o755)


def fake_python(folder: Path, name: str, *, log: Path, version: str = "3.12.1") -> None:
    """A Python that is new enough and makes venvs whose pip only notes its arguments."""
    program(
        folder,
        name,
        f"""case "$*" in
--version) echo "Python {version}" ;;
*"-m venv"*)
    for last; do :; done
    mkdir -p "$last/bin"
    cat "$0" >"$last/bin/python"; chmod 755 "$last/bin/python"
    printf '#!/bin/sh\\necho "imgctl $*"\\n' >"$last/bin/imgctl"; chmod 755 "$last/bin/imgctl" ;;
*"pip install"*) echo "$*" >>"{log}" ;;
*requirements.py*) exec {sys.executable} "$@" ;;
esac
""",
    )


OLD = 'case "$*" in --version) echo "Python 3.9.2" ;; *version_info*) exit 1 ;; esac\n'
SHIM = 'echo "pyenv: not found" >&2; exit 127\n'


def test_help_names_every_target(run: Run, root: Path) -> None:
    shown = run("make", cwd=root).stdout
    targets = re.findall(r"^\.PHONY: (\S+)$", (root / "Makefile").read_text(), re.MULTILINE)
    for target in targets:
        assert re.search(rf"^make {target}\s+\S", shown, re.MULTILINE), target
    assert {"demo", "test", "lint", "proto", "build", "peers", "bench", "clean"} <= set(targets)


def test_without_python(at: Run) -> None:
    done = at("demo")
    assert done.returncode != 0
    assert "imgctl needs Python 3.11 or newer" in done.stderr


def test_python_too_old(at: Run, machine: Path) -> None:
    program(machine, "python3", OLD)
    done = at("demo")
    assert done.returncode != 0
    assert "there is none here (Python 3.9.2)" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_named_python_too_old(at: Run, machine: Path, tmp_path: Path) -> None:
    fake_python(machine, "python3", log=tmp_path / "log")
    program(machine, "mine", OLD)
    done = at("demo", "PYTHON=mine")
    assert done.returncode != 0
    assert "Python 3.9.2" in done.stderr


def test_newer_python_beside_an_older_one(at: Run, machine: Path, tmp_path: Path) -> None:
    program(machine, "python3", OLD)
    program(machine, "python3.13", SHIM)
    fake_python(machine, "python3.12", log=tmp_path / "log")
    done = at("demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imgctl sandbox --demo"


def test_venv_module_absent(at: Run, machine: Path) -> None:
    program(
        machine,
        "python3",
        'case "$*" in --version) echo "Python 3.11.2" ;; *ensurepip*) exit 1 ;; esac\n',
    )
    done = at("test")
    assert done.returncode != 0
    assert "Python 3.11.2 is here, but its venv module is not complete" in done.stderr
    assert "apt-get install python3-venv" in done.stderr


def test_demo_installs_the_sandbox_once(at: Run, machine: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    for _ in range(2):
        assert at("demo").returncode == 0
    (line,) = log.read_text().splitlines()
    assert line.endswith("--editable .[sandbox]")


def test_it_is_done_again_when_pyproject_changes(
    at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    assert at("demo").returncode == 0
    later = (outline / ".venv/.installed-demo").stat().st_mtime + 5
    os.utime(outline / "pyproject.toml", (later, later))
    assert at("demo").returncode == 0
    assert len(log.read_text().splitlines()) == 2


def test_nothing_is_recorded_when_installing_fails(
    at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    fake_python(machine, "python3", log=tmp_path / "no" / "such" / "folder")
    assert at("demo").returncode != 0
    assert not (outline / ".venv/.installed-demo").exists()


def test_uv_is_used_when_it_is_there(at: Run, machine: Path, outline: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake_python(machine, "base", log=tmp_path / "pip")
    program(
        machine,
        "uv",
        f'echo "$*" >>"{log}"\n[ "$1" != venv ] || base -m venv "{outline}/.venv"\n',
    )
    done = at("demo")
    assert done.returncode == 0, done.stderr
    made, installed = log.read_text().splitlines()
    assert made.startswith("venv ")
    assert ">=3.11" in made
    assert installed.endswith("--editable .[sandbox]")
    assert not (tmp_path / "pip").exists()


def test_a_full_environment_serves_the_demo(at: Run, machine: Path, outline: Path) -> None:
    (outline / ".venv/bin").mkdir(parents=True)
    program(outline / ".venv/bin", "imgctl", 'echo "imgctl $*"\n')
    (outline / ".venv/.installed-dev").touch()
    done = at("demo")
    assert done.stdout.splitlines() == ["imgctl sandbox --demo"]


def test_development_is_locked(at: Run, machine: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    done = at("lint")
    packages, ours = log.read_text().splitlines()
    assert packages.endswith("--require-hashes --only-binary :all: --requirement .ci/dev.lock")
    assert ours.endswith("--no-deps --no-build-isolation --editable .")
    assert "WARNING" not in done.stderr


def test_development_is_locked_by_uv_too(
    at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake_python(machine, "base", log=tmp_path / "pip")
    uv = f'echo "$*" >>"{log}"\n[ "$1" != venv ] || base -m venv "{outline}/.venv"\n'
    program(machine, "uv", uv)
    at("lint")
    _, packages, ours = log.read_text().splitlines()
    assert "--require-hashes --only-binary :all: --requirement .ci/dev.lock" in packages
    assert ours.endswith("--no-deps --no-build-isolation --editable .")


@pytest.mark.parametrize("target", ["build", "lock", "audit"])
def test_what_builds_locks_and_audits_is_locked(
    target: str, at: Run, machine: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    done = at(target)
    (packages,) = log.read_text().splitlines()
    assert packages.endswith("--require-hashes --only-binary :all: --requirement .ci/tools.lock")
    assert "WARNING" not in done.stderr


def test_tools_without_the_lock_only_with_a_warning(
    at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    done = at("audit", IMGCTL_UNLOCKED="1")
    assert "WARNING: IMGCTL_UNLOCKED is set" in done.stderr
    assert log.read_text().endswith("--requirement .venv-audit/tools.txt\n")
    assert "pip-audit" in (outline / ".venv-audit/tools.txt").read_text().splitlines()


def test_it_is_done_again_when_the_lock_changes(
    at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    at("lint")
    later = (outline / ".venv/.installed-dev").stat().st_mtime + 5
    os.utime(outline / ".ci/dev.lock", (later, later))
    at("lint")
    assert len(log.read_text().splitlines()) == 4


def test_what_is_not_in_the_lock_is_not_installed(
    at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    project = outline / "pyproject.toml"
    project.write_text(project.read_text().replace('"PyYAML>=6",', '"PyYAML>=6", "surprise>=1",'))
    done = at("lint")
    assert done.returncode != 0
    assert "asks for what .ci/dev.lock has not: surprise" in done.stderr
    assert "make lock" in done.stderr
    assert not log.exists()
    assert not (outline / ".venv/.installed-dev").exists()


def test_a_lock_that_can_not_be_installed_is_no_reason_to_do_without(
    at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    fake = machine / "python3"
    fake.write_text(
        fake.read_text().replace("case", 'case "$*" in *hashes*) exit 1 ;; esac\ncase', 1)
    )
    done = at("lint")
    assert done.returncode != 0
    assert "IMGCTL_UNLOCKED=1" in done.stderr
    assert not log.exists()
    assert not (outline / ".venv/.installed-dev").exists()


@pytest.mark.parametrize("why", ["asked for", "another Python"])
def test_without_the_lock_only_with_a_warning(
    why: str, at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    fake_python(machine, "python3", log=log)
    if why == "asked for":
        done = at("lint", IMGCTL_UNLOCKED="1")
        assert "WARNING: IMGCTL_UNLOCKED is set" in done.stderr
    else:
        fake = machine / "python3"
        odd = 'case "$*" in *"requirements.py locked") echo "this is 3.99"; exit ;; esac\ncase'
        fake.write_text(fake.read_text().replace("case", odd, 1))
        done = at("lint")
        assert "WARNING: this is 3.99" in done.stderr
    assert "without the lock and its hashes" in done.stderr
    (line,) = log.read_text().splitlines()
    assert line.endswith("--editable .[sandbox,testing] --requirement .venv/dev.txt")
    wanted = (outline / ".venv/dev.txt").read_text().splitlines()
    assert "pytest-xdist" in wanted
    assert not [name for name in wanted if name.startswith("imgctl")]


def test_the_lock_is_for_all_systems_and_tells_nothing_of_this_one(
    at: Run, machine: Path, outline: Path, tmp_path: Path
) -> None:
    """Written whole or not at all: uv failing leaves the old one."""
    log, tools = tmp_path / "log", outline / ".venv-lock"
    fake_python(machine, "python3", log=tmp_path / "pip")
    program(machine, "sed", f'exec {shutil.which("sed")} "$@"\n')
    assert at("lock").returncode != 0  # that pip installs no uv
    before = (outline / ".ci/dev.lock").read_text()
    assert before.count("==") > 100
    for failing in ("tools.lock", "nothing"):
        program(
            tools / "bin",
            "uv",
            f'echo "$*" >>"{log}"; for out; do :; done\n'
            'while [ "$1" != --output-file ]; do shift; done\n'
            f'echo "a==1" >"$2"; case "$out" in *{failing}) exit 1 ;; esac\n',
        )
        assert (at("lock").returncode == 0) is (failing == "nothing")
        if failing == "tools.lock":
            assert (outline / ".ci/dev.lock").read_text() == before
    asked, of_tools = log.read_text().splitlines()[-2:]
    assert "--extra sandbox --extra testing" in asked
    assert "/dev.lock --no" not in asked
    assert re.search(r"--constraint \S+/dev\.lock", of_tools)
    for flag in (
        "--universal --python-version 3.11",
        "--generate-hashes",
        "--no-emit-index-url --no-emit-find-links --no-header",
    ):
        assert flag in asked
        assert flag in of_tools
    for name in ("dev.lock", "tools.lock"):
        first, second = (outline / ".ci" / name).read_text().splitlines()
        assert "make lock" in first
        assert second == "a==1"


def test_audit_asks_about_the_lock_and_takes_no_silence_for_an_answer(
    at: Run, outline: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    (outline / ".venv-audit/bin").mkdir(parents=True)
    (outline / ".venv-audit/.installed-audit").touch()
    program(outline / ".venv-audit/bin", "pip-audit", f'echo "$*" >"{log}"; exit 1\n')
    assert at("audit").returncode != 0
    asked = log.read_text()
    assert "--requirement .ci/dev.lock --requirement .ci/tools.lock" in asked
    assert "--require-hashes --disable-pip --strict" in asked
    assert asked.count("--ignore-vuln") == 1


@pytest.mark.parametrize("code", [1, 2, 5])
def test_make_test_fails_as_pytest_does(at: Run, outline: Path, code: int) -> None:
    (outline / ".venv/bin").mkdir(parents=True)
    program(outline / ".venv/bin", "pytest", f"exit {code}\n")  # 5: no test was collected
    (outline / ".venv/.installed-dev").touch()
    assert at("test").returncode != 0


def test_lint_stops_at_the_first_tool_that_complains(
    at: Run, outline: Path, tmp_path: Path
) -> None:
    (outline / ".venv/bin").mkdir(parents=True)
    log = tmp_path / "log"
    for name in ("ruff", "lint-imports"):
        program(outline / ".venv/bin", name, f'echo "{name} $*" >>"{log}"\n')
    program(outline / ".venv/bin", "mypy", "exit 1\n")
    (outline / ".venv/.installed-dev").touch()
    assert at("lint").returncode != 0
    assert log.read_text().splitlines() == ["ruff check .", "ruff format --check ."]


def test_scripts_are_valid_shell(root: Path, run: Run) -> None:
    scripts = [*root.glob(".ci/*.sh"), root / ".ci/run"]
    assert len(scripts) >= 7
    for path in scripts:
        shell = "bash" if path.name == "run" else "sh"
        assert os.access(path, os.X_OK), path
        run(shell, "-n", path, cwd=root)
