"""The tutorial's commands, run in the sandbox as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_every_command_of_the_tutorial_ends_as_it_says(
    root: Path, tmp_path: Path, run: Run
) -> None:
    page = (root / "docs/tutorial/first-promotion.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line[:7] == "imgctl "]
    assert len(commands) == 7
    script = tmp_path / "script"
    imgctl = f"{sys.executable} -m imgctl_cli"
    lines = [f'{imgctl} {line.removeprefix("imgctl ")}; echo "exit $?"' for line in commands]
    script.write_text("\n".join(lines))
    sandbox = (sys.executable, "-m", "imgctl_cli", "sandbox", "--", "sh", script)
    out = run(*sandbox, cwd=tmp_path).stdout
    exits = dict(zip(commands, re.findall(r"^exit (\d+)$", out, re.MULTILINE), strict=True))
    conflict = "imgctl promote myapp:v0.9.0 --source dev --destination prod"
    assert exits.pop(conflict) == "8"
    assert set(exits.values()) == {"0"}, out
    assert re.search(r"^promoted myapp:v1.0.0 to prod  sha256:\w+  pr_\w+$", out, re.MULTILINE)
