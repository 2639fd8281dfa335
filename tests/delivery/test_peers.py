"""`make peers` installs what the tests ask for, and says what it could not."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imgctl_core.testing.peers import PROGRAMS

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_every_program_that_a_test_can_ask_for_is_installed(root: Path) -> None:
    text = (root / ".ci/peers.sh").read_text().replace("\\\n", " ")
    for name, hint in PROGRAMS.items():
        module = re.search(r"go install (\S+)@(\S+?)\)", hint)
        wheel = re.search(r"pip install (\S+)==(\S+?)\)", hint)
        package = re.search(r"apt-get install (\S+?)\)", hint)
        if module:
            line = (
                rf"^go_tool {re.escape(name)} \S+\s+{re.escape(module[1])} {re.escape(module[2])}$"
            )
            assert re.search(line, text, re.MULTILINE), name
        elif wheel:
            line = rf"^python_tool {name} {wheel[1]} {re.escape(wheel[2])} \S+$"
            assert re.search(line, text, re.MULTILINE), name
        else:
            assert package is not None
            assert re.search(rf"^debian_tool \S+ {package[1]}$", text, re.MULTILINE), name


@pytest.fixture
def bare(tree: Path, tmp_path: Path) -> Callable[[], dict[str, str]]:
    """Return a function that gives the environment of a machine without any of it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkdir", "dirname", "mktemp", "rm", "mv", "awk", "cat", "env", "ls", "sort"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    (folder / "id").write_text("#!/bin/sh\necho 1000\n")  # nobody special, and no sudo
    (folder / "id").chmod(0o755)
    return lambda: {"PATH": str(folder)}


def test_what_can_not_be_installed_is_named_and_fails(
    tree: Path, bare: Callable[[], dict[str, str]], run: Run
) -> None:
    done = run(".ci/peers.sh", cwd=tree, env=bare(), check=False)
    assert done.returncode != 0
    assert "versitygw          MISSING: it is built with Go" in done.stderr
    assert "apt-get install docker-registry" in done.stderr
    (summary,) = [line for line in done.stderr.splitlines() if line.startswith("not installed:")]
    assert {"versitygw", "crane", "s5cmd", "docker-registry", "skopeo"} <= set(summary.split())


def test_a_program_of_another_version_is_built_again(
    tree: Path, bare: Callable[[], dict[str, str]], run: Run, tmp_path: Path
) -> None:
    environ = bare()
    go = Path(environ["PATH"]) / "go"
    # Every program that is there says v1.8.0, which is right for versitygw alone.
    go.write_text(
        "#!/bin/sh\n"
        "module=github.com/versity/versitygw\n"
        'if [ "$1" = version ]; then printf "mod\\t$module\\tv1.8.0\\n"; exit; fi\n'
        f'echo "$2" >>"{tmp_path}/built"; echo >"$GOBIN/${{2##*/}}"\n'
    )
    go.chmod(0o755)
    folder = tree / ".peers" / "bin"
    folder.mkdir(parents=True)
    for name in ("versitygw", "crane"):
        (folder / name).touch(mode=0o755)
    done = run(".ci/peers.sh", cwd=tree, env=environ, check=False)
    assert "versitygw          1.8.0, there already" in done.stdout
    built = (tmp_path / "built").read_text()
    assert "go-containerregistry/cmd/crane@v0.22.1" in built
    assert "versitygw" not in built
