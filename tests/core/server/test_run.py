"""The server as a process: signals, settings, exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from imgctl_core.client.api import Client
from imgctl_core.client.target import Target
from imgctl_core.engine import NOTIFY_SECONDS, STOP_SECONDS
from imgctl_core.errors import InvalidSetting, TokenRefused
from imgctl_core.server.app import GRACE
from imgctl_core.server.run import (
    DRAIN_SECONDS,
    LEAVE_SECONDS,
    check_settings,
    run_server,
    server_of,
)
from imgctl_core.settings import load_settings

ENVIRON = {
    "OIDC_ISSUER_URL": "http://127.0.0.1:9/dex",
    "OIDC_AUDIENCE": "https://imgctl.example.com",
    "IMGCTL_REGISTRY_DEV": "http://127.0.0.1:1",
    "IMGCTL_REGISTRY_PROD": "http://127.0.0.1:2",
    "IMGCTL_BIND_ADDRESS": "127.0.0.1:0",
}


class OwnServer:
    """Counts what is asked of it, and signals its own process once it runs."""

    address = "127.0.0.1:0"

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls: list[Any] = []
        self.second: list[object] = []

    def start(self) -> None:
        self.calls.append("start")
        threading.Timer(0.05, os.kill, (os.getpid(), self.number)).start()

    def drain(self, seconds: float) -> None:
        self.calls.append(seconds)
        # From here on a second signal does what it does to any process: it ends it.
        self.second = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]


def test_a_thread_that_never_ends_does_not_keep_the_process() -> None:
    """As of a plugin that ignores being cancelled: Python would wait for it for ever."""
    program = """
        import logging, threading
        from imgctl_core.server.run import leave_in_time
        logging.basicConfig()
        threading.Thread(target=threading.Event().wait).start()
        leave_in_time(0.1)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0
    assert "something still hangs" in ended.stderr


def test_all_that_a_stop_may_take_fits() -> None:
    assert DRAIN_SECONDS + STOP_SECONDS + NOTIFY_SECONDS + GRACE <= LEAVE_SECONDS < 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_a_second_one_would_kill(number: int) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    server: Any = OwnServer(number)
    stopping: list[str] = []
    assert run_server(server, drain_seconds=3.0, on_stop=lambda: stopping.append("now")) == 0
    assert stopping == ["now"]
    assert server.calls == ["start", 3.0]
    assert server.second == [signal.SIG_DFL, signal.SIG_DFL]
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_hangup_looks_again_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: False)
    server: Any = OwnServer(signal.SIGHUP)
    heard: list[str] = []

    def hear() -> None:
        heard.append("hangup")
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGHUP)
    assert run_server(server, drain_seconds=3.0, on_hangup=hear) == 0
    assert heard == ["hangup"]
    assert server.calls == ["start", 3.0]
    assert signal.getsignal(signal.SIGHUP) == before


def test_a_terminal_that_hangs_up_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    server: Any = OwnServer(signal.SIGHUP)
    assert run_server(server, drain_seconds=3.0, on_hangup=pytest.fail) == 0
    assert server.calls == ["start", 3.0]


def test_check_settings_checks_the_binding_and_the_plugins() -> None:
    warnings = check_settings(load_settings(environ=ENVIRON))
    assert any("OIDC_ALLOWED_GROUPS" in warning for warning in warnings)
    with pytest.raises(InvalidSetting, match="no TLS"):
        check_settings(load_settings(environ={**ENVIRON, "IMGCTL_BIND_ADDRESS": "0.0.0.0:1"}))
    lonely = {k: v for k, v in ENVIRON.items() if "REGISTRY" not in k}
    with pytest.raises(InvalidSetting, match="endpoint"):
        check_settings(load_settings(environ=lonely))


def test_the_settings_make_a_server(tmp_path: Any) -> None:
    from imgctl_core.server.assemble import assemble, configure_plugins

    settings = load_settings(environ={**ENVIRON, "IMGCTL_AUDIT_LOG": str(tmp_path / "audit.jsonl")})
    parts = assemble(settings, configure_plugins(settings))
    try:
        with server_of(settings, parts) as server:
            client = Client(Target(server.address), "not-a-token")
            with client, pytest.raises(TokenRefused):
                client.auth_check()
    finally:
        parts.close()
    assert "authn.denied" in (tmp_path / "audit.jsonl").read_text()


def test_the_start_is_on_record_with_a_hash_of_the_settings(tmp_path: Any) -> None:
    from imgctl_core.audit import read
    from imgctl_core.server.assemble import assemble, configure_plugins

    def started(name: str, **more: str) -> Any:
        path = tmp_path / name
        environ = {**ENVIRON, "IMGCTL_AUDIT_LOG": str(tmp_path / "audit.jsonl"), **more}
        settings = load_settings(environ=environ)
        assemble(settings, configure_plugins(settings)).close()
        (tmp_path / "audit.jsonl").rename(path)
        first, *_ = (r for r in read(path) if r["event"] == "server.started")
        return first

    one, same = started("1"), started("2")
    assert one["settings_sha256"] == same["settings_sha256"]
    assert one["environments"] == ["dev", "prod"]
    assert {plugin["name"] for plugin in one["plugins"]} >= {"image", "spa"}
    assert set(one["endpoints"]["image"]) == {"dev", "prod"}
    assert all(address in str(ENVIRON.values()) for address in one["endpoints"]["image"].values())
    for number, more in enumerate(
        (
            {"IMGCTL_MAX_PROMOTIONS": "3"},
            {"IMGCTL_REGISTRY_PROD": "http://127.0.0.1:3"},
            {"OIDC_ALLOWED_GROUPS": "others"},
            {"IMGCTL_LIMITS_PEER_RATE": "0"},
        )
    ):
        assert started(f"more-{number}", **more)["settings_sha256"] != one["settings_sha256"]
