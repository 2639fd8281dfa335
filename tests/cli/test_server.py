"""`imgctl server`: which settings the flags become. Running it is tested end to end."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.settings import ServerSettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ServerSettings]]:
    """Return the settings that servers were run with, instead of running them."""
    seen: list[ServerSettings] = []

    def serve(settings: ServerSettings) -> int:
        logging.getLogger("imgctl.server").info("serving\nforged line")
        seen.append(settings)
        return 0

    monkeypatch.setattr("imgctl_core.server.run.serve", serve)
    monkeypatch.setenv("OIDC_ISSUER_URL", "https://dex.test")
    monkeypatch.setenv("OIDC_AUDIENCE", "https://imgctl.test")
    yield seen
    log = logging.getLogger("imgctl")
    log.handlers.clear()
    log.setLevel(logging.NOTSET)


def test_runs_with_the_settings_of_the_environment(run: Any, served: Any) -> None:
    ran = run("server")
    assert (ran.code, ran.out) == (0, "")
    assert served[0].server.bind_address == "127.0.0.1:9999"
    assert not served[0].server.insecure_plaintext


def test_flags_win_over_variables_and_the_file(
    run: Any, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[server]\nbind_address = "127.0.0.1:1"\nmax_promotions = 3\n')
    assert run("server", "--config", str(file)).code == 0
    monkeypatch.setenv("IMGCTL_CONFIG", str(file))
    monkeypatch.setenv("IMGCTL_BIND_ADDRESS", "127.0.0.1:2")
    monkeypatch.setenv("IMGCTL_INSECURE_PLAINTEXT", "true")
    assert run("server").code == 0
    assert run("server", "-b", "127.0.0.1:3").code == 0
    assert run("server", "--bind-address", "127.0.0.1:4").code == 0
    assert [one.server.bind_address for one in served] == [f"127.0.0.1:{n}" for n in range(1, 5)]
    assert [one.server.insecure_plaintext for one in served] == [False, True, True, True]
    assert {one.server.max_promotions for one in served} == {3}


def test_every_flag_reaches_its_setting(run: Any, served: Any, tls_files: Any) -> None:
    ran = run(
        "server", "--tls-cert", str(tls_files.cert), "--tls-key", str(tls_files.key),
        "--tls-client-ca", str(tls_files.ca), "--insecure-plaintext", "-b", "0.0.0.0:0",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    server = served[0].server
    assert (server.tls_cert, server.tls_key) == (tls_files.cert, tls_files.key)
    assert server.tls_client_ca == tls_files.ca
    assert server.insecure_plaintext


def test_logs_one_line_a_record_to_stderr(run: Any, served: Any) -> None:
    ran = run("server")
    assert ran.err.endswith(" INFO imgctl.server: serving forged line\n")
    assert run("server", "-l", "warning").err == ""


def test_a_traceback_in_the_log_stays_below_its_record(
    run: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(settings: ServerSettings) -> int:
        try:
            raise ValueError("x\n2026-10-01 INFO forged\x1b[m")
        except ValueError:
            logging.getLogger("imgctl.server").exception("failed")
        return 0

    monkeypatch.setattr("imgctl_core.server.run.serve", serve)
    first, *rest = run("server").err.splitlines()
    assert first.endswith("ERROR imgctl.server: failed")
    assert "    2026-10-01 INFO forged\ufffd[m" in rest
    assert all(line.startswith("    ") for line in rest)


def test_a_wrong_setting_is_a_usage_error(
    run: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OIDC_AUDIENCE")
    ran = run("server")
    assert ran.code == 2
    assert "OIDC_AUDIENCE" in ran.err
    assert not served


class TestCheck:
    def test_sound_settings(self, run: Any, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "imgctl_core.server.run.check_settings", lambda settings: ("nobody may come in\x1b",)
        )
        ran = run("server", "--check")
        assert (ran.code, ran.out) == (0, "the settings are sound\n")
        assert ran.err == "warning: nobody may come in\ufffd\n"
        assert not served

    def test_a_real_check_refuses_what_would_not_start(self, run: Any, served: Any) -> None:
        ran = run("server", "--check", "-b", "0.0.0.0:9999")
        assert ran.code == 2
        assert "--insecure-plaintext" in ran.err
        assert json.dumps(ran.out) == '""'
