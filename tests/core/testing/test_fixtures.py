"""What the fixtures do when a program is absent, and what isolation lets through."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from imgctl_core.testing.isolation import OutsideConnection, clean_environment

pytest_plugins = ["pytester"]

_ASKS = """
    pytest_plugins = ["imgctl_core.testing.fixtures"]
    def test_it(docker_registry):
        assert False, "never reached"
"""


def test_an_absent_program_skips_with_the_way_to_get_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(_ASKS)
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.delenv("IMGCTL_REQUIRE_PEERS", raising=False)
    result = pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*docker-registry is not installed: make peers*"])


def test_an_absent_program_fails_where_peers_are_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(_ASKS)
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.setenv("IMGCTL_REQUIRE_PEERS", "1")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(errors=1)


def test_the_environment_is_empty_of_the_machines_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IMGCTL_SERVER", "OIDC_AUDIENCE", "AWS_PROFILE", "https_proxy", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "leaked")
    clean_environment(monkeypatch, home)
    assert [name for name, value in os.environ.items() if value == "leaked"] == []
    assert Path.home() == home
    assert os.environ["XDG_CONFIG_HOME"].startswith(str(home))


@pytest.mark.parametrize("address", ["192.0.2.1", "169.254.169.254"])
def test_no_connection_leaves_the_loopback(address: str) -> None:
    with socket.socket() as out, pytest.raises(OutsideConnection):
        out.connect((address, 80))
    with socket.socket() as out, pytest.raises(OutsideConnection):
        out.connect_ex((address, 80))


def test_names_outside_are_not_resolved() -> None:
    with pytest.raises(OutsideConnection):
        socket.create_connection(("example.com", 80))
    with pytest.raises(socket.gaierror):
        socket.create_connection(("registry.invalid", 80))


def test_the_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()
