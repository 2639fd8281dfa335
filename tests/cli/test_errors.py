"""The one place where errors end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgctl_cli.main import COMMANDS

SECRET = "hunter2"


class TestUnexpected:
    ARGS = ("promote", "a:1", "-d", "prod")

    @pytest.fixture(autouse=True)
    def bug(self, monkeypatch: pytest.MonkeyPatch, server: Any, dex: Any) -> None:
        def broken(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError(f"https://user:{SECRET}@host")

        monkeypatch.setattr("imgctl_cli.connection.Session.ask", broken)

    def test_is_one_line_without_traceback_or_secret(self, run: Any) -> None:
        ran = run(*self.ARGS)
        assert (ran.code, ran.out) == (1, "")
        first, fix, code = ran.err.splitlines()
        assert first == "error: imgctl met a bug: ZeroDivisionError"
        assert "--verbose" in fix
        assert code == "code: INTERNAL"
        assert SECRET not in ran.err

    def test_as_json(self, run: Any) -> None:
        ran = run(*self.ARGS, "-o", "json")
        assert json.loads(ran.err)["error"]["reason"] == "INTERNAL"

    @pytest.mark.parametrize("debug", ["1", "yes"])
    def test_has_a_traceback_when_asked_by_variable(
        self, run: Any, monkeypatch: pytest.MonkeyPatch, debug: str
    ) -> None:
        monkeypatch.setenv("IMGCTL_DEBUG", debug)
        assert "Traceback (most recent call last)" in run(*self.ARGS).err

    def test_has_a_traceback_when_asked_by_flag(self, run: Any) -> None:
        assert "Traceback" in run(*self.ARGS, "--verbose").err

    @pytest.mark.parametrize("debug", ["", "0"])
    def test_has_none_when_the_variable_says_no(
        self, run: Any, monkeypatch: pytest.MonkeyPatch, debug: str
    ) -> None:
        monkeypatch.setenv("IMGCTL_DEBUG", debug)
        assert "Traceback" not in run(*self.ARGS).err


def test_an_error_of_the_system_says_which_file(
    run: Any, server: Any, dex: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device", "/var/x")

    monkeypatch.setattr("imgctl_cli.connection.Session.ask", full)
    ran = run("promote", "a:1", "-d", "prod")
    assert ran.code == 1
    assert ran.err.startswith("error: the system said: No space left on device (/var/x)\n")


class TestUsage:
    def test_help_is_where_to_look(self, run: Any) -> None:
        ran = run("promote", "--no-such")
        assert (ran.code, ran.out) == (2, "")
        assert "--no-such" in ran.err
        assert "fix: see 'imgctl promote --help'\ncode: SETTING_INVALID\n" in ran.err

    @pytest.mark.parametrize(
        "flag", [["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"]]
    )
    def test_json_is_asked_for_in_any_spelling(self, run: Any, flag: list[str]) -> None:
        ran = run("promote", *flag, "--no-such")
        assert ran.code == 2
        assert json.loads(ran.err)["error"]["reason"] == "SETTING_INVALID"

    def test_what_stands_after_two_dashes_is_not_ours(self, run: Any) -> None:
        assert run("promote", "--no-such", "--", "-o", "json").err.startswith("error: ")

    def test_a_near_command_is_suggested(self, run: Any) -> None:
        ran = run("promot", "a:1")
        assert ran.code == 2
        assert "there is no command 'promot': did you mean promote?" in ran.err

    def test_a_ref_is_no_command(self, run: Any) -> None:
        ran = run("myapp:v1")
        assert ran.code == 2
        assert "there is no command 'myapp:v1'" in ran.err

    @pytest.mark.parametrize("group", [[], ["config"], ["audit"]])
    def test_nothing_asked_is_help_as_a_usage_error(self, run: Any, group: list[str]) -> None:
        ran = run(*group)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("Usage: imgctl")


class TestHelp:
    def test_names_every_command_with_its_line(self, run: Any) -> None:
        ran = run("--help")
        assert (ran.code, ran.err) == (0, "")
        for name, (_, line) in COMMANDS.items():
            assert any(row.split() == [name, *line.split()] for row in ran.out.splitlines())

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_of_the_table_is_there_and_explains_itself(
        self, run: Any, name: str
    ) -> None:
        ran = run(name, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith(f"Usage: imgctl {name}")
