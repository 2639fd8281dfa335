"""Where the client's settings come from, seen through `config show` and a login."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from imgctl_cli.settings import SETTINGS

WriteConfig = Callable[[str], Path]


@pytest.fixture
def show(run: Any, server: Any) -> Callable[..., dict[str, Any]]:
    """Return a function from flags to what `config show` says of each setting."""

    def call(*args: str) -> dict[str, Any]:
        ran = run("config", "show", "-o", "json", *args)
        assert (ran.code, ran.err) == (0, "")
        return {row["name"]: row for row in json.loads(ran.out)["settings"]}

    return call


@pytest.fixture
def bake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes this the installation of a wheel with defaults."""

    def call(**defaults: str) -> None:
        module = ModuleType("imgctl_cli._baked")
        module.__dict__["DEFAULTS"] = defaults
        monkeypatch.setitem(sys.modules, "imgctl_cli._baked", module)

    return call


def test_every_setting_is_shown_with_its_built_in_value(show: Any) -> None:
    rows = show()
    assert list(rows) == [
        "server", "source", "destination", "dex_url", "client_id", "client_secret",
        "client_secret_file", "pubkey_file", "username", "audience", "audience_mode",
        "connector_id", "rsa_sha1", "ca_file", "client_cert", "client_key",
    ]  # fmt: skip
    assert {row["origin"] for row in rows.values()} == {"built-in"}
    given = {name: row["value"] for name, row in rows.items() if row["value"]}
    assert given == {
        "server": "localhost:9999",
        "audience": "https://localhost",
        "audience_mode": "audience",
        "connector_id": "ssh",
        "rsa_sha1": "yes",
    }


def test_the_names_of_the_variables_are_the_contract() -> None:
    assert {setting.name: setting.variable for setting in SETTINGS} == {
        "server": "IMGCTL_SERVER",
        "source": "IMGCTL_DEFAULT_SOURCE",
        "destination": "IMGCTL_DEFAULT_DESTINATION",
        "dex_url": "DEX_URL",
        "client_id": "IMGCTL_CLIENT_ID",
        "client_secret": "IMGCTL_CLIENT_SECRET",
        "client_secret_file": "IMGCTL_CLIENT_SECRET_FILE",
        "pubkey_file": "IMGCTL_PUBKEY_FILE",
        "username": "KUBECTL_SSH_USER",
        "audience": "IMGCTL_AUDIENCE",
        "audience_mode": "IMGCTL_AUDIENCE_MODE",
        "connector_id": "IMGCTL_CONNECTOR_ID",
        "rsa_sha1": "IMGCTL_RSA_SHA1",
        "ca_file": "IMGCTL_CA_FILE",
        "client_cert": "IMGCTL_CLIENT_CERT",
        "client_key": "IMGCTL_CLIENT_KEY",
    }


def test_flag_over_environment_over_file_over_baked_over_built_in(
    show: Any, bake: Any, config_file: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def server(*args: str) -> tuple[str, str, str]:
        row = show(*args)["server"]
        return row["value"], row["origin"], row["where"]

    assert server() == ("localhost:9999", "built-in", "")
    bake(server="baked:1")
    assert server() == ("baked:1", "baked", "")
    path = config_file('server = "file:2"')
    assert server() == ("file:2", "file", str(path))
    monkeypatch.setenv("IMGCTL_SERVER", "variable:3")
    assert server() == ("variable:3", "environment", "IMGCTL_SERVER")
    assert server("-s", "flag:4") == ("flag:4", "flag", "--server")


@pytest.mark.parametrize(
    "setting", [each for each in SETTINGS if not each.switch], ids=lambda setting: setting.name
)
def test_every_setting_can_be_given_in_each_way(
    setting: Any, show: Any, monkeypatch: pytest.MonkeyPatch, config_file: WriteConfig
) -> None:
    first, second, third = setting.choices or ("/a:1", "/b:2", "/c:3")

    def shown(*args: str) -> str:
        value: str = show(*args)[setting.name]["value"]
        return value

    def mask(text: str) -> str:
        return "********" if setting.secret else text

    config_file(f'{setting.name} = "{first}"')
    assert shown() == mask(first)
    monkeypatch.setenv(setting.variable, second)
    assert shown() == mask(second)
    for flag in setting.flags:
        assert shown(flag, third) == mask(third)


@pytest.mark.parametrize("setting", [each for each in SETTINGS if each.switch], ids=str)
def test_every_switch_can_be_set_in_each_way(
    setting: Any, show: Any, monkeypatch: pytest.MonkeyPatch, config_file: WriteConfig
) -> None:
    def shown(*args: str) -> tuple[str, str]:
        row = show(*args)[setting.name]
        return row["value"], row["where"]

    on, off = setting.flags
    assert shown() == ("yes", "")
    path = config_file(f'{setting.name} = "no"')
    assert shown() == ("no", str(path))
    for word, means in (("1", "yes"), ("false", "no"), ("yes", "yes"), ("off", "no")):
        monkeypatch.setenv(setting.variable, word)
        assert shown() == (means, setting.variable)
        assert shown(on) == ("yes", on)
        assert shown(off) == ("no", off)


def test_an_empty_variable_and_an_empty_key_are_unset(
    show: Any, bake: Any, config_file: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bake(destination="prod", source="")
    config_file('destination = ""')
    monkeypatch.setenv("IMGCTL_DEFAULT_DESTINATION", "")
    row = show()["destination"]
    assert (row["value"], row["origin"]) == ("prod", "baked")
    assert show()["source"]["origin"] == "built-in"


def test_no_secret_is_shown_whatever_it_came_from(
    run: Any, server: Any, bake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bake(client_secret="hunter2")
    for args in (["-o", "json"], ["-o", "text"], ["--help"]):
        ran = run("config", "show", *args)
        assert ran.code == 0
        assert "hunter2" not in ran.out + ran.err
    monkeypatch.setenv("IMGCTL_CLIENT_SECRET", "hunter2")
    ran = run("promote", "--help")
    assert ran.code == 0
    assert "hunter2" not in ran.out + ran.err


def test_the_table_for_people(run: Any, server: Any) -> None:
    ran = run("config", "show", "-s", "imgctl.example.com:443", "--client-secret", "hunter2")
    assert "server\timgctl.example.com:443\tflag --server\n" in ran.out
    assert "audience\thttps://imgctl.example.com\tbuilt-in\n" in ran.out
    assert "client_secret\t********\tflag --client-secret\n" in ran.out
    assert "config.toml (not there)" in ran.err


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ('sever = "x:1"', "unknown key 'sever'", "did you mean server?"),
        ('dex-url = "x"', "unknown key 'dex-url'", "did you mean dex_url?"),
        ('zzz = "x"', "unknown key 'zzz'", "the keys are server, source,"),
        ("server = 9999", "server in the settings file", 'key = "value"'),
        ("[server]", "server in the settings file", 'key = "value"'),
        ('audience_mode = "x"', "'x', which is none of its values", "audience, cross-client"),
        ("server = ", "is not TOML", "line"),
        ('pubkey_file = "a\\u0000.pub"', "pubkey_file in the settings file", "line"),
    ],
)
def test_a_wrong_settings_file_is_a_usage_error(
    run: Any, server: Any, config_file: WriteConfig, text: str, message: str, fix: str
) -> None:
    path = config_file(text)
    ran = run("config", "show", "-o", "json")
    error = json.loads(ran.err)["error"]
    assert (ran.code, ran.out, error["reason"]) == (2, "", "SETTING_INVALID")
    assert str(path) in error["message"]
    assert message in error["message"]
    assert fix in error["fix"]


def test_a_settings_file_that_is_no_text_or_no_file(
    run: Any, server: Any, config_file: WriteConfig
) -> None:
    path = config_file("")
    path.write_bytes(b'server = "\xff"')
    assert "is not UTF-8" in run("config", "show").err
    path.unlink()
    path.mkdir()
    ran = run("config", "show")
    assert ran.code == 2
    assert "can't be read" in ran.err


def test_help_needs_no_settings_file(run: Any, config_file: WriteConfig) -> None:
    config_file("broken")
    ran = run("promote", "--help")
    assert ran.code == 0
    assert "--destination" in ran.out


def test_a_relative_settings_folder_counts_as_unset(
    show: Any, config_file: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_file('server = "file:2"')
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert show()["server"]["value"] == "file:2"


def test_a_user_without_a_home(
    run: Any, show: Any, dex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs as some number: nothing there is called `~`."""
    folder = tmp_path / "~/.config/imgctl"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('server = "evil.example:1"')
    monkeypatch.setenv("HOME", "~")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.chdir(tmp_path)
    assert show()["server"]["value"] == "localhost:9999"
    assert run("login", "-f", "~/key.pub").code == 0
    assert run("login", "-f", "~nobody-of-that-name/key.pub").code == 0
    assert [str(settings.pubkey_file)[0] for settings, _ in dex.logins] == ["~", "~"]


def test_paths_know_the_home_and_the_file_they_stand_in(
    show: Any, home: Path, config_file: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config_file('ca_file = "ca.pem"\npubkey_file = "~/key.pub"')
    assert show()["ca_file"]["value"] == str(path.parent / "ca.pem")
    assert show()["pubkey_file"]["value"] == str(home / "key.pub")
    monkeypatch.setenv("IMGCTL_CA_FILE", "~/other.pem")
    assert show()["ca_file"]["value"] == str(home / "other.pem")


def test_a_login_gets_every_setting(
    run: Any, server: Any, dex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run(
        "promote", "myapp:v1", "-d", "prod", "-s", "imgctl.test:443", "--dex-url",
        "https://other.test", "--client-id", "cli", "-f", "/k.pub", "-u", "bob", "--audience",
        "aud", "--audience-mode", "cross-client", "--connector-id", "ssh2", "--ca-file", "/ca",
    )  # fmt: skip
    assert ran.code == 0
    ((settings, use_cache),) = dex.logins
    assert use_cache
    assert server.targets == [("imgctl.test:443", Path("/ca"))]
    assert settings.dex_url == "https://other.test"
    assert settings.client_id == "cli"
    assert settings.pubkey_file == Path("/k.pub")
    assert settings.username == "bob"
    assert settings.audience == "aud"
    assert settings.audience_mode == "cross-client"
    assert settings.connector_id == "ssh2"
    assert settings.ca_file == Path("/ca")


def test_the_audience_is_the_servers_host_unless_said(run: Any, server: Any, dex: Any) -> None:
    assert run("promote", "a:1", "-d", "prod", "-s", "imgctl.test:443").code == 0
    assert dex.logins[0][0].audience == "https://imgctl.test"
    assert dex.logins[0][0].pubkey_file is None


@pytest.mark.parametrize(
    ("variable", "flag"), [("DEX_URL", "--dex-url"), ("IMGCTL_CLIENT_ID", "--client-id")]
)
def test_what_a_login_needs_is_told_before_any_network(
    run: Any, server: Any, dex: Any, monkeypatch: pytest.MonkeyPatch, variable: str, flag: str
) -> None:
    monkeypatch.delenv(variable)
    ran = run("promote", "a:1", "-d", "prod")
    assert ran.code == 2
    assert flag in ran.err
    assert variable in ran.err
    assert not dex.logins


class TestClientSecret:
    def used(self, run: Any, dex: Any, *args: str) -> str:
        assert run("promote", "a:1", "-d", "prod", *args).code == 0
        secret: str = dex.logins.pop()[0].client_secret
        return secret

    def test_the_stronger_way_wins(
        self,
        run: Any,
        server: Any,
        dex: Any,
        bake: Any,
        tmp_path: Path,
        config_file: WriteConfig,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        secret_file = tmp_path / "secret"
        secret_file.write_text("from-file\n")
        bake(client_secret="baked")
        assert self.used(run, dex) == "baked"
        config_file(f'client_secret_file = "{secret_file}"')
        assert self.used(run, dex) == "from-file"
        monkeypatch.setenv("IMGCTL_CLIENT_SECRET", "variable")
        assert self.used(run, dex) == "variable"
        assert self.used(run, dex, "--client-secret-file", str(secret_file)) == "from-file"

    def test_given_twice_in_one_way_is_an_error(
        self, run: Any, server: Any, dex: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IMGCTL_CLIENT_SECRET", "hunter2")
        monkeypatch.setenv("IMGCTL_CLIENT_SECRET_FILE", "/secret")
        ran = run("promote", "a:1", "-d", "prod")
        assert ran.code == 2
        assert "both a client secret and a file" in ran.err
        assert "hunter2" not in ran.err

    def test_a_file_that_is_not_there(self, run: Any, server: Any, dex: Any) -> None:
        ran = run("promote", "a:1", "-d", "prod", "--client-secret-file", "/no/such")
        assert ran.code == 2
        assert "/no/such can't be read: No such file" in ran.err

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty"),
            (b" \n", "is empty"),
            (b"\xff", "not UTF-8"),
            (b"x" * 100_000, "too long"),
        ],
    )
    def test_a_file_without_a_secret(
        self, content: bytes, says: str, run: Any, dex: Any, tmp_path: Path
    ) -> None:
        file = tmp_path / "secret"
        file.write_bytes(content)
        ran = run("login", "--client-secret-file", str(file))
        assert ran.code == 2
        assert says in ran.err
        assert not dex.logins

    def test_a_secret_by_flag_is_warned_about(
        self, run: Any, server: Any, dex: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran = run("promote", "a:1", "-d", "prod", "--client-secret", "hunter2")
        assert ran.code == 0
        assert "warning: a secret given by flag" in ran.err
        assert "hunter2" not in ran.out + ran.err
        monkeypatch.setenv("IMGCTL_CLIENT_SECRET", "hunter2")
        assert "warning" not in run("promote", "a:1", "-d", "prod").err
