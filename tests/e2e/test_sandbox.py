"""The sandbox: the tour, a command in it, and nothing left of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def test_the_tour_ends_as_it_should(stack: Any) -> None:
    done = stack.run("sandbox", "--demo")
    assert done.code == 0, done.out + done.err
    assert done.out.count("as it should be)") == 2
    assert "it should be " not in done.out.replace("as it should be)", "")
    for text in ("authenticated", "promoted myapp:v1.0.0", "unchanged myapp:v1.0.0", "sound: "):
        assert text in done.out
    assert "promoted spa:shop:1.4.2 to prod" in done.out
    folder = re.search(r"\S*imgctl-sandbox-\w+", done.out)
    assert folder is not None
    assert not Path(folder[0]).exists()


def test_a_command_runs_in_it_and_its_exit_code_is_ours(stack: Any) -> None:
    script = 'imgctl() { "$PY" -m imgctl_cli "$@"; }; imgctl environments && exit 7'
    import sys

    done = stack.run("sandbox", "--", "sh", "-c", script, env={"PY": sys.executable})
    assert done.code == 7, done.err
    assert "dev" in done.out
    assert "prod" in done.out


def test_a_command_that_is_not_there_is_said(stack: Any) -> None:
    done = stack.run("sandbox", "--", "no-such-program")
    assert done.code == 2
    assert "no-such-program" in done.err
    assert "Traceback" not in done.err
