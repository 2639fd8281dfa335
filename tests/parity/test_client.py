"""The original tool's client: one test for each of its commands, flags and variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
import pytest

from imgctl_cli.main import COMMANDS, cli

Settings = Callable[..., dict[str, Any]]
Imgctl = Callable[..., Any]


def options(command: str) -> dict[str, click.Parameter]:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return {flag: param for param in found.params for flag in param.opts}


#: flag, its short form, the setting
CONNECTION_FLAGS = [
    ("--server", "-s", "server"),
    ("--dex-url", "", "dex_url"),
    ("--client-id", "", "client_id"),
    ("--client-secret", "", "client_secret"),
    ("--pubkey-file", "-f", "pubkey_file"),
    ("--username", "-u", "username"),
    ("--audience", "", "audience"),
    ("--ca-file", "", "ca_file"),
]
PROMOTE_FLAGS = [("--source", "", "source"), ("--destination", "-d", "destination")]

VARIABLES = [
    ("IMGCTL_SERVER", "server"),
    ("DEX_URL", "dex_url"),
    ("IMGCTL_CLIENT_ID", "client_id"),
    ("KUBECTL_SSH_USER", "username"),
    ("IMGCTL_DEFAULT_SOURCE", "source"),
    ("IMGCTL_DEFAULT_DESTINATION", "destination"),
    ("IMGCTL_AUDIENCE", "audience"),
    ("IMGCTL_CA_FILE", "ca_file"),
]


@pytest.mark.parametrize("name", ["promote", "auth-check", "server"])
def test_commands_of_the_original(imgctl: Imgctl, name: str) -> None:
    ran = imgctl(name, "--help")
    assert ran.code == 0
    assert f"imgctl {name}" in ran.out


@pytest.mark.parametrize("name", ["watch", "cancel", "plugins", "environments", "version", "audit"])
def test_commands_that_were_added(imgctl: Imgctl, name: str) -> None:
    assert name in COMMANDS
    assert imgctl(name, "--help").code == 0


@pytest.mark.parametrize(("flag", "short", "name"), CONNECTION_FLAGS + PROMOTE_FLAGS)
def test_flag(settings: Settings, flag: str, short: str, name: str) -> None:
    for spelling in filter(None, (flag, short)):
        entry = settings(spelling, "given")[name]
        assert entry["origin"] == "flag"
        assert entry["value"] == ("********" if name == "client_secret" else "given")


@pytest.mark.parametrize("command", ["promote", "auth-check"])
@pytest.mark.parametrize(("flag", "short", "name"), CONNECTION_FLAGS)
def test_connection_flag_of_command(command: str, flag: str, short: str, name: str) -> None:
    found = options(command)
    assert found[flag].name == name
    assert not short or found[short] is found[flag]


@pytest.mark.parametrize(("variable", "name"), VARIABLES)
def test_variable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    monkeypatch.setenv(variable, "given")
    entry = settings()[name]
    assert (entry["value"], entry["origin"], entry["where"]) == ("given", "environment", variable)


def test_variable_imgctl_client_secret(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGCTL_CLIENT_SECRET", "hush")
    entry = settings()["client_secret"]
    assert (entry["value"], entry["where"]) == ("********", "IMGCTL_CLIENT_SECRET")


def test_server_default(settings: Settings) -> None:
    assert settings()["server"]["value"] == "localhost:9999"


def test_audience_default_is_the_server_s_host_without_port(settings: Settings) -> None:
    entry = settings("--server", "imgctl.example.com:443")["audience"]
    assert entry["value"] == "https://imgctl.example.com"


def test_promote_ref_positional_and_flag_are_one(imgctl: Imgctl) -> None:
    for arguments in (("myapp",), ("-r", "myapp"), ("--ref", "myapp")):
        ran = imgctl("promote", *arguments, "-d", "prod")
        assert ran.code == 2
        assert "'myapp' has neither a tag nor a digest" in ran.err


def test_promote_ref_twice_is_a_usage_error(imgctl: Imgctl) -> None:
    assert imgctl("promote", "myapp:v1", "-r", "myapp:v1", "-d", "prod").code == 2


def test_promote_without_destination(imgctl: Imgctl) -> None:
    ran = imgctl("promote", "myapp:v1")
    assert ran.code == 2
    assert "IMGCTL_DEFAULT_DESTINATION" in ran.err


@pytest.mark.parametrize("flag", ["--show-token", "--plan", "--output", "-o", "--on-conflict"])
def test_promote_flag(flag: str) -> None:
    assert flag in options("promote")


def test_dex_url_and_client_id_are_required(
    imgctl: Imgctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = imgctl("auth-check")
    assert ran.code == 2
    assert "DEX_URL" in ran.err
    monkeypatch.setenv("DEX_URL", "https://dex.example")
    ran = imgctl("auth-check")
    assert ran.code == 2
    assert "IMGCTL_CLIENT_ID" in ran.err


def test_pubkey_file_default() -> None:
    from imgctl_core.client.login import LoginSettings

    assert LoginSettings("https://dex.example", "id", "", "aud").pubkey_file is None
    assert "~/.ssh/id_ed25519.pub" in (getattr(options("promote")["-f"], "help", "") or "")


BAKED = {
    "server": "baked:1",
    "source": "baked-source",
    "destination": "baked-destination",
    "dex_url": "https://baked.example",
    "client_id": "baked-id",
    "client_secret": "baked-secret",
    "audience": "https://baked.example/aud",
}


@pytest.mark.parametrize("name", sorted(BAKED))
def test_baked_default(
    settings: Settings, baked: Callable[[Mapping[str, str]], None], name: str
) -> None:
    baked(BAKED)
    entry = settings()[name]
    assert entry["origin"] == "baked"
    assert entry["value"] == ("********" if name == "client_secret" else BAKED[name])


def test_precedence_flag_environment_file_baked_built_in(
    settings: Settings,
    baked: Callable[[Mapping[str, str]], None],
    client_file: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def server(*flags: str) -> tuple[str, str]:
        entry = settings(*flags)["server"]
        return entry["value"], entry["origin"]

    assert server() == ("localhost:9999", "built-in")
    baked({"server": "baked:1"})
    assert server() == ("baked:1", "baked")
    client_file('server = "file:1"\n')
    assert server() == ("file:1", "file")
    monkeypatch.setenv("IMGCTL_SERVER", "variable:1")
    assert server() == ("variable:1", "environment")
    assert server("--server", "flag:1") == ("flag:1", "flag")


def test_promote_alone_works_with_baked_defaults(
    imgctl: Imgctl, baked: Callable[[Mapping[str, str]], None]
) -> None:
    # Every setting is there: what is left to complain about is that nobody is at the server.
    baked({**BAKED, "dex_url": "http://127.0.0.1:9", "server": "127.0.0.1:9"})
    ran = imgctl("promote", "myapp:v1.0.0", "--username", "alice")
    assert ran.code in (4, 10), ran.err
