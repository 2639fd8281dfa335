"""Other people's text in every place where some is shown: none of it steers a terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imgctl_cli import logs
from imgctl_cli.output.progress import BarProgress
from imgctl_core.access import AuthReport, Decision, Explanation
from imgctl_core.errors import Conflict, LoginRefused
from imgctl_core.manifest import line
from imgctl_core.models import (
    Action,
    Actor,
    EndpointInfo,
    EnvironmentInfo,
    Failure,
    ItemProgress,
    ItemResult,
    ManifestRow,
    Outcome,
    Phase,
    PlannedItem,
    PlanReport,
    PluginInfo,
    PluginStatus,
    Progress,
    Step,
)
from imgctl_core.text import is_plain

#: Clears the screen, sets the title, rings, goes back, reverses, hides, and forges a line.
EVIL = "a\x1b[2J\x1b]0;t\x07\x9b1m\r\b\u202e\u200b\u3164\x00\udcff\nerror: forged\u2028x"


def poisoned(value: Any) -> Any:
    """Return the same record with the evil text in place of every text in it."""
    if is_dataclass(value) and not isinstance(value, type):
        texts = {each.name: poisoned(getattr(value, each.name)) for each in fields(value)}
        return replace(value, **texts)
    if type(value) is str:
        return EVIL
    if isinstance(value, tuple):
        return tuple(map(poisoned, value))
    if isinstance(value, Mapping):
        return {EVIL + str(number): poisoned(each) for number, each in enumerate(value.values())}
    return value


def harmful(text: str) -> str:
    """Return the characters that should not be there, escaped: a report shows them, too."""
    return ascii("".join(char for char in text if not is_plain(char) and char not in "\n\t"))[1:-1]


FAILURE = Failure("CONFLICT", "message", "fix", "in_1")
ITEMS = (
    ItemResult("a", "k", Outcome.PROMOTED, "d", notes=("note",)),
    ItemResult("b", "k", Outcome.FAILED, error=FAILURE, notes=("note",)),
)
PROGRESS = Progress(Phase.STAGE, (ItemProgress("a", Phase.STAGE, 9, 3, 2, 1, "message"),))
STEPS = (Step("action", "subject", 7),)
PLAN = PlanReport(
    "dev",
    "prod",
    Outcome.FAILED,
    (
        PlannedItem("a", "k", Outcome.PROMOTED, "d", "c", 1, 2, STEPS, notes=("note",)),
        PlannedItem("a", "k", Outcome.ACTIVATED, "d", "c", 1, 2, STEPS),
        PlannedItem("b", "k", Outcome.FAILED, error=FAILURE),
    ),
)
ACTOR = Actor("i", "s", "n", "e", ("g",), "g", "ssh", "t", datetime(2030, 1, 1, tzinfo=UTC))


@pytest.fixture
def evil(server: Any, dex: Any, promotion: Any) -> Any:
    """Return a server, behind a Dex, that says nothing but evil."""
    server.promotion = poisoned(promotion(*ITEMS, outcome=Outcome.FAILED))
    server.stream = [poisoned(PROGRESS), server.promotion]
    server.plan = poisoned(PLAN)
    checks = (Decision("rules", True, "why"), Decision("rules", False, "why", "fix"))
    asked = Explanation("a:1", "dev", "prod", checks)
    server.auth = poisoned(AuthReport(ACTOR, ("prod",), "1.0", asked))
    server.plugins = (
        poisoned(PluginInfo("p", "d", "1", PluginStatus.QUARANTINED, ("k",), ("n",), "x", "why")),
    )
    server.rows = (ManifestRow(EVIL, line({"key": EVIL})),)
    server.environments = (poisoned(EnvironmentInfo("e", (EndpointInfo("k", "a"),), True, True)),)
    dex.claims = {"iss": EVIL, "sub": EVIL, "name": EVIL, "aud": [EVIL, EVIL], "groups": [EVIL]}
    dex.lines = (EVIL,)
    dex.tokens = ["token"] * 20
    return server


COMMANDS = [
    ("promote", "a:1", "b:1", "-d", "prod"),
    ("promote", "a:1", "-d", "prod", "--plan"),
    ("activate", "spa:a:1", "-d", "prod"),
    ("activate", "spa:a:1", "-d", "prod", "--plan"),
    ("watch", "pr_1"),
    ("cancel", "pr_1"),
    ("auth-check",),
    ("environments",),
    ("plugins",),
    ("login",),
]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_of_servers_and_of_dex(args: tuple[str, ...], form: str, run: Any, evil: Any) -> None:
    if args[0] == "activate":
        evil.plan = replace(evil.plan, action=Action.ACTIVATE)
        evil.promotion = replace(evil.promotion, action=Action.ACTIVATE)
    ran = run(*args, "-o", form)
    assert harmful(ran.out + ran.err) == ""
    assert "forged" in ran.out + ran.err
    assert not [line for line in ran.out.splitlines() if line.startswith("error: forged")]
    assert not [line for line in ran.err.splitlines() if line.startswith("error: forged")]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_of_manifests(form: str, run: Any, evil: Any) -> None:
    ran = run("manifest", "pr_1", "-o", form)
    assert ran.code == 0
    assert "forged" in ran.out
    assert harmful(ran.out + ran.err) == ""


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_plans_in_files(form: str, run: Any, evil: Any, tmp_path: Path) -> None:
    """In what is printed, in the file, and in the file's own name when it can't be written."""
    file = tmp_path / "plan.json"
    plan = ("promote", "a:1", "-d", "prod", "--plan", "-o", form, "--plan-out")
    ran = run(*plan, str(file))
    assert "forged" in ran.out + ran.err
    assert harmful(ran.out + ran.err) == ""
    assert harmful(file.read_text()) == ""
    assert "forged" in file.read_text()
    ran = run(*plan, "none/" + EVIL.replace("\0", ""))
    assert "forged" in ran.err
    assert harmful(ran.out + ran.err) == ""


@pytest.mark.parametrize("more", [(), ("-o", "json"), ("--verbose",)])
@pytest.mark.parametrize("by", ["dex", "server"])
def test_of_errors(by: str, more: tuple[str, ...], run: Any, evil: Any, dex: Any) -> None:
    if by == "dex":
        dex.error = LoginRefused(EVIL, fix=EVIL)
    else:
        evil.error = Conflict(EVIL, fix=EVIL, id=EVIL)
    for args in (*COMMANDS, ("manifest", "pr_1")):
        ran = run(*args, *more)
        assert harmful(ran.out + ran.err) == ""
        assert "forged" in ran.out + ran.err or (by, args) == ("server", ("login",))


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "args",
    [
        (EVIL,),
        ("promote", EVIL, "-d", "prod"),
        ("promote", "a:1", "-d", EVIL),
        ("promote", "a:1", "-d", "prod", "--source", EVIL),
        ("promote", "a:1", "-d", "prod", f"--{EVIL}"),
        ("promote", "a:1", "-d", "prod", "--on-conflict", EVIL),
        ("promote", "a:1", "-d", "prod", "-s", EVIL),
        ("promote", "a:1", "-d", "prod", "--client-secret-file", "none/" + EVIL.replace("\0", "")),
        ("activate", f"spa:{EVIL}", "-d", "prod"),
        ("watch", EVIL),
        ("cancel", EVIL),
        ("manifest", EVIL),
        ("manifest", "pr_1", "--ref", EVIL),
        ("config", "show", "-u", EVIL),
        ("config", EVIL),
        ("logout", "--dex-url", EVIL),
        ("audit", "show", "--file", EVIL.replace("\0", "")),
    ],
)
def test_of_who_types(args: tuple[str, ...], form: str, run: Any, server: Any, dex: Any) -> None:
    ran = run(*args, "-o", form)
    assert harmful(ran.out + ran.err) == ""
    assert not dex.logins


@pytest.mark.parametrize(
    "text",
    [
        f"items:\n- ref: {json.dumps(EVIL)}\n",
        f"{json.dumps(EVIL)}: x\n",
        f"items:\n- {{ref: a:1, {json.dumps(EVIL)}: x}}\n",
        "items: \x1b[2J",
    ],
)
def test_of_release_files(text: str, run: Any, server: Any, dex: Any, tmp_path: Path) -> None:
    file = tmp_path / "a\x1b[2J.yaml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    ran = run("promote", "--file", str(file), "-d", "prod")
    assert ran.code == 2
    assert harmful(ran.out + ran.err) == ""


@pytest.mark.parametrize("key", ['"a\\u001b[2J" = "x"', 'server = "\\u001b[2J:1"', "\x1b = 1"])
def test_of_settings_files(
    key: str, run: Any, server: Any, dex: Any, config_file: Callable[[str], Path]
) -> None:
    config_file(key)
    for args in (("config", "show"), ("promote", "a:1", "-d", "prod")):
        ran = run(*args)
        assert harmful(ran.out + ran.err) == ""


def test_of_an_audit_log(run: Any, tmp_path: Path) -> None:
    """Whoever has written to the file by hand."""
    record = {
        "seq": 1, "ts": EVIL, "event": EVIL, "audit_id": EVIL, "source": EVIL,
        "destination": EVIL, "actor": {"email": EVIL}, "items": [{"ref": EVIL}], "method": EVIL,
        "why": EVIL, "message": EVIL, "cause": EVIL, "prev_hash": "0" * 64, "hash": EVIL,
        "plugins": [{"name": EVIL, "version": EVIL, "status": EVIL}],
    }  # fmt: skip
    item = {"ref": EVIL, "outcome": "promoted", "digest": "x", "previous_digest": EVIL}
    failed = {"reason": EVIL, "message": EVIL}
    records = (
        record,
        {**record, "actor": {"sub": EVIL}},
        {**record, "event": "authn.denied", "peer": EVIL},
        {**record, "items": [item, {**item, "error": failed}]},
    )
    file = tmp_path / "audit.jsonl"
    file.write_text("".join(f"{json.dumps(one)}\n" for one in records))
    for args in (("show",), ("show", "-o", "json"), ("verify",), ("verify", "-o", "json")):
        ran = run("audit", *args, "--file", str(file))
        assert harmful(ran.out + ran.err) == ""
        assert ran.out
        assert "error: forged" not in ran.out.splitlines()


def test_of_bars() -> None:
    from rich.console import Console

    shown = io.StringIO()
    bars = BarProgress(Console(file=shown, force_terminal=False, width=2000))
    bars.update(poisoned(PROGRESS))
    bars.stop()
    assert "forged" in shown.getvalue()
    assert harmful(shown.getvalue()) == ""


def test_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(logging.INFO, "%(levelname)s %(message)s")
    # pytest keeps the log as well, and could not report a lone surrogate.
    evil = EVIL.replace("\udcff", "")
    try:
        raise ValueError(evil)
    except ValueError:
        logging.getLogger("imgctl.test").exception("it said %s", evil)
    said = capsys.readouterr().err
    assert harmful(said) == ""
    assert said.splitlines()[0].startswith("ERROR it said a")
    assert all(line.startswith("    ") for line in said.splitlines()[1:])
