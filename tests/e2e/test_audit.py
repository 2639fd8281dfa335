"""The audit log of a real server process: full disks, rotation, kills, copies, and no secret."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.audit import read, verify
from imgctl_core.testing.images import sample_image
from imgctl_core.testing.issuer import app as issuer_app
from imgctl_core.testing.issuer import exchange


def _until(ready: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


def _events(stack: Any) -> list[object]:
    return [record["event"] for record in read(stack.audit_log)]


def _disk(stack: Any, *, full: bool) -> None:
    """Let no file of the server grow any more, as on a full disk, or let them."""
    pid = stack.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    # A little still fits: the line is cut in the middle.
    size = stack.audit_log.stat().st_size + 100 if full else hard
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux's prlimit")
def test_a_disk_that_is_full_before_or_after_the_copy(stack: Any, registries: Any) -> None:
    dev, _, prod = registries
    for tag in ("v1", "v2", "v3"):
        dev.put_image("app", tag, sample_image(f"full-{tag}"))
    # What Python compiles on a full disk it would leave behind cut off, for everybody else.
    stack.start(PYTHONDONTWRITEBYTECODE="1")
    assert stack.run("auth-check").code == 0
    _disk(stack, full=True)
    refused = stack.promote("app:v1")
    assert refused.code == 1
    assert "can't write its audit log" in refused.err
    assert str(stack.audit_log) not in refused.err
    assert "v1" not in prod.tags("app")
    _disk(stack, full=False)

    # It becomes full when the tag is there already.
    def fill(request: Any) -> None:
        if request.method == "PUT" and request.path.endswith("/manifests/v2"):
            _disk(stack, full=True)

    prod.faults.append(fill)
    done = stack.promote("app:v2", "-o", "json")
    assert done.code == 0, done.err
    assert "could not write this outcome to its audit log" in done.err
    assert (json.loads(done.out)["audit_head"], json.loads(done.out)["audit_degraded"]) == (
        "",
        True,
    )
    assert "v2" in prod.tags("app")
    held = stack.promote("app:v3")
    assert held.code == 1
    assert "audit log" in held.err
    assert "v3" not in prod.tags("app")

    prod.faults.clear()
    _disk(stack, full=False)
    ended = json.loads(stack.promote("app:v3", "-o", "json").out)
    assert verify(stack.audit_log, expect_head=ended["audit_head"]).problems == ()
    by_event = [r for r in read(stack.audit_log) if str(r["event"]).startswith("promotion.")]
    requested = {r["audit_id"] for r in by_event if r["event"] == "promotion.requested"}
    promoted = {r["audit_id"] for r in by_event if r["event"] == "promotion.promoted"}
    assert requested == promoted
    assert len(promoted) == 2


def test_moved_away_and_a_hangup_begins_a_new_file(stack: Any, registries: Any) -> None:
    stack.start()
    moved = stack.audit_log.with_name("audit.jsonl.1")
    stack.audit_log.rename(moved)
    os.kill(stack.process.pid, signal.SIGHUP)
    _until(lambda: stack.audit_log.exists() and bool(_events(stack)))
    assert _events(stack) == ["audit.rotated"]
    # The server lives.
    assert stack.run("auth-check").code == 0
    stack.stop()
    assert _events(stack)[-1] == "server.stopped"
    assert verify(moved, stack.audit_log).problems == ()
    shown = stack.run("audit", "verify", str(moved), str(stack.audit_log))
    assert (shown.code, shown.out[:6]) == (0, "sound:")


def test_killed_at_random_moments_nothing_is_lost(stack: Any, registries: Any) -> None:
    """A few with everything real; hundreds stand in tests/core/audit."""
    dev, _, prod = registries
    lot = random.Random(7)
    for number in range(3):
        tag = f"v{number}"
        dev.put_image("app", tag, sample_image(f"killed-{number}"))
        stack.start()
        left = lot.randrange(1, 12)
        touched: list[str] = []

        def kill(request: Any, left: int = left, touched: list[str] = touched) -> None:
            touched.append(request.path)
            if len(touched) == left:
                stack.process.kill()

        prod.faults.append(kill)
        stack.promote(f"app:{tag}")
        prod.faults.clear()
        stack.stop()
    stack.start()
    stack.stop()
    assert verify(stack.audit_log).problems == ()
    records = list(read(stack.audit_log))
    requested = [r["audit_id"] for r in records if r["event"] == "promotion.requested"]
    ended = [
        r["audit_id"]
        for r in records
        if str(r["event"]) in ("promotion.promoted", "promotion.failed", "promotion.interrupted")
    ]
    assert set(requested) <= set(ended)
    assert len(ended) == len(set(ended))
    # Whatever is there was asked for on record.
    tags = {
        str(item["ref"])
        for record in records
        if record["event"] == "promotion.requested" and isinstance(record["items"], list)
        for item in record["items"]
        if isinstance(item, dict)
    }
    assert {f"app:{tag}" for tag in prod.tags("app")} <= tags


def test_a_whole_tour_leaves_no_secret_in_any_copy(
    stack: Any, registries: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms: list[Mapping[str, str]] = []

    def read_and_keep(*arguments: Any) -> Any:
        forms.append(exchange.read_form(*arguments))
        return forms[-1]

    monkeypatch.setattr(issuer_app, "read_form", read_and_keep)
    dev, _, prod = registries
    dev.put_image("app", "v1", sample_image("tour"))
    dev.put_image("app", "v2", sample_image("tour-2"))
    prod.put_image("app", "v2", sample_image("other"))
    password = tmp_path / "password"
    password.write_text("registry-password-1")
    hook = "https://127.0.0.1:1/services/T0/B0/slack-secret-1"
    config = tmp_path / "imgctl.toml"
    config.write_text(f"""
        [environments.dev.image]
        registry = "{dev.url}"
        [environments.prod.image]
        registry = "{prod.url}"
        auth = "basic"
        username = "pusher"
        password_file = "{password}"
        [audit]
        stdout = true
        max_bytes = 4000
    """)
    for name in [name for name in stack.server_settings if "REGISTRY" in name]:
        del stack.server_settings[name]
    stack.start(
        IMGCTL_CONFIG=str(config),
        IMGCTL_SLACK_WEBHOOK_URL=hook,
        AWS_SECRET_ACCESS_KEY="aws-secret-1",
    )
    shown = stack.promote("app:v1", "--show-token")
    token = shown.out.splitlines()[0]
    ids = [stack.promote("app:v2", "-o", "json")]
    assert ids[0].code == 8
    denied = stack.run(
        "promote", "app:v1", "--source", "dev", "-d", "prod",
        "-u", "bob", "-f", stack.client["BOB_KEY"],
    )  # fmt: skip
    assert denied.code == 5
    for arguments in (
        ("auth-check",), ("environments",), ("plugins",), ("watch", "pr_none"),
        ("promote", "app:v1", "--source", "dev", "-d", "prod", "--plan"),
        ("promote", "app:v1", "--source", "dev", "-d", "nowhere"),
        ("cancel", "pr_none"),
    ):  # fmt: skip
        stack.run(*arguments)
    stack.stop()
    files = [*sorted(tmp_path.glob("audit.*.jsonl")), stack.audit_log]
    assert len(files) > 1
    assert verify(*files).problems == ()
    text = "".join(file.read_text() for file in files)
    # The server's output is in one file: every record came there, too.
    for line in text.splitlines():
        assert line in stack.log
    events = {json.loads(line)["event"] for line in text.splitlines()}
    assert {
        "server.started", "server.stopped", "audit.rotated", "auth.checked", "authz.denied",
        "plan.made", "promotion.requested", "promotion.promoted", "promotion.conflict",
    } <= events  # fmt: skip
    ssh_tokens = {form["subject_token"] for form in forms}
    assert len(ssh_tokens) > 1
    secrets = [token, token.split(".")[2], "very-secret", "registry-password-1"]
    secrets += ["slack-secret-1", "aws-secret-1", *ssh_tokens]
    for secret in secrets:
        assert secret not in text
        assert secret not in stack.log
