"""Logging in, from settings to token."""

from __future__ import annotations

import dataclasses
import functools
import getpass
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_core.client import agent as agent_module
from imgctl_core.client.login import LoginSettings, Token, login, logout
from imgctl_core.errors import (
    AgentUnavailable,
    InvalidSetting,
    IssuerUnreachable,
    LoginRefused,
    NoUsableKey,
)
from imgctl_core.testing.ssh import SshAgent, SshKeyFiles, make_ssh_key

if TYPE_CHECKING:
    from tests.core.client.login.conftest import FakeAgent, FakeDex

KINDS = ("ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa")
Split = Callable[[str], tuple[bytes, bytes, dict[str, Any], dict[str, Any]]]


def with_key(settings: LoginSettings, files: SshKeyFiles) -> LoginSettings:
    return dataclasses.replace(settings, pubkey_file=files.public)


def log_in(settings: LoginSettings, **kwargs: Any) -> tuple[Token, list[str]]:
    said: list[str] = []
    return login(settings, say=said.append, **kwargs), said


@pytest.fixture
def alone(key_set: dict[str, SshKeyFiles], tmp_path: Path) -> SshKeyFiles:
    """Return a public key whose private file is not beside it."""
    files = key_set["ed25519"]
    public = tmp_path / "alone.pub"
    shutil.copy(files.public, public)
    return dataclasses.replace(files, public=public)


@pytest.mark.parametrize("kind", KINDS)
def test_by_file(
    kind: str, dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles]
) -> None:
    dex.know(key_set[kind])
    token, said = log_in(with_key(settings, key_set[kind]))
    assert token.claims["email"] == "alice@example.com"
    assert token.audiences == (settings.audience,)
    assert [line for line in said if "SHA-1" in line] == said
    assert bool(said) is (kind == "rsa")


@pytest.mark.parametrize("kind", KINDS)
def test_by_agent(
    kind: str,
    dex: FakeDex,
    settings: LoginSettings,
    key_set: dict[str, SshKeyFiles],
    ssh_agent: SshAgent,
    tmp_path: Path,
) -> None:
    dex.know(key_set[kind])
    ssh_agent.add(key_set[kind].private)
    public = tmp_path / "alone.pub"
    shutil.copy(key_set[kind].public, public)
    token, _ = log_in(dataclasses.replace(settings, pubkey_file=public))
    assert token.claims["email"] == "alice@example.com"


def test_the_agent_comes_before_the_file(
    dex: FakeDex, settings: LoginSettings, ssh_agent: SshAgent, tmp_path: Path
) -> None:
    files = make_ssh_key(tmp_path, passphrase="never asked")
    ssh_agent.add(files.private, passphrase="never asked")
    dex.know(files)

    def ask(prompt: str) -> str:
        raise AssertionError("the agent holds this key")

    log_in(with_key(settings, files), ask_passphrase=ask)
    assert len(dex.forms) == 1


def test_the_named_key_and_no_other(
    dex: FakeDex,
    settings: LoginSettings,
    ssh_agent: SshAgent,
    key_set: dict[str, SshKeyFiles],
) -> None:
    ssh_agent.add(key_set["ecdsa-256"].private)
    dex.know(key_set["ecdsa-256"])
    with pytest.raises(LoginRefused):
        log_in(with_key(settings, key_set["ed25519"]))
    assert len(dex.forms) == 1


def test_the_default_key(
    dex: FakeDex,
    settings: LoginSettings,
    home: Path,
    ssh_agent: SshAgent,
    key_set: dict[str, SshKeyFiles],
) -> None:
    ssh_agent.add(key_set["rsa"].private)
    files = make_ssh_key(home / ".ssh", name="id_ed25519")
    dex.know(files)
    token, said = log_in(settings)
    assert token.claims["email"] == "alice@example.com"
    assert said == []
    assert len(dex.forms) == 1


@pytest.mark.parametrize("agent", ["none", "empty", "gone"])
def test_the_other_keys_of_the_home_when_the_agent_has_none(
    agent: str,
    dex: FakeDex,
    settings: LoginSettings,
    home: Path,
    request: pytest.FixtureRequest,
    key_set: dict[str, SshKeyFiles],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if agent == "empty":
        request.getfixturevalue("ssh_agent")
    elif agent == "gone":
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "no-such"))
    place(home, key_set["ecdsa-256"], "id_ecdsa")
    place(home, key_set["rsa"], "id_rsa")
    dex.know(key_set["rsa"])
    token, said = log_in(settings)
    assert token.claims["email"] == "alice@example.com"
    assert len(dex.forms) == 2  # The ECDSA key first, which Dex does not know.
    assert len(said) == 1
    assert "SHA-1" in said[0]
    with pytest.raises(LoginRefused, match="with ECDSA"):
        log_in(dataclasses.replace(settings, allow_rsa_sha1=False), use_cache=False)


def test_other_keys_of_the_home_that_can_not_sign(
    dex: FakeDex, settings: LoginSettings, home: Path, key_set: dict[str, SshKeyFiles]
) -> None:
    place(home, key_set["ecdsa-256"], "id_ecdsa").chmod(0o640)
    with pytest.raises(NoUsableKey, match="can be read by others"):
        log_in(settings)
    place(home, key_set["rsa"], "id_rsa")
    dex.know(key_set["rsa"])
    _, said = log_in(settings)
    assert "skipped a key: the private key" in said[0]


def test_the_agents_keys_come_before_the_other_keys_of_the_home(
    dex: FakeDex,
    settings: LoginSettings,
    home: Path,
    ssh_agent: SshAgent,
    key_set: dict[str, SshKeyFiles],
) -> None:
    place(home, key_set["ecdsa-256"], "id_ecdsa")
    ssh_agent.add(key_set["rsa"].private)
    dex.know(key_set["rsa"])
    log_in(settings)
    assert len(dex.forms) == 1


def place(home: Path, files: SshKeyFiles, name: str) -> Path:
    """Put a key where ssh-keygen would, and return its private file."""
    private = home / ".ssh" / name
    private.parent.mkdir(exist_ok=True)
    shutil.copy(files.private, private)
    shutil.copy(files.public, f"{private}.pub")
    return private


def test_no_default_key_without_a_home(
    settings: LoginSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is called `~` in the folder where somebody happens to be is not theirs."""
    make_ssh_key(tmp_path / "~/.ssh", name="id_ed25519")
    monkeypatch.setenv("HOME", "~")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AgentUnavailable, match="SSH_AUTH_SOCK is not set"):
        log_in(settings)


def test_a_key_in_the_home(dex: FakeDex, settings: LoginSettings, home: Path) -> None:
    dex.know(make_ssh_key(home / "keys", name="work"))
    token, _ = log_in(dataclasses.replace(settings, pubkey_file=Path("~/keys/work.pub")))
    assert token.claims["email"] == "alice@example.com"


def test_the_agents_keys_once_each_best_first(
    dex: FakeDex,
    settings: LoginSettings,
    ssh_agent: SshAgent,
    key_set: dict[str, SshKeyFiles],
    split: Split,
    verify: Callable[[str, bytes, bytes], None],
) -> None:
    order = ("ed25519", "ecdsa-521", "ecdsa-256", "rsa")
    for kind in ("rsa", "ecdsa-521", "ed25519", "ecdsa-256"):
        ssh_agent.add(key_set[kind].private)
    dex.know(key_set["rsa"])
    token, said = log_in(settings)
    assert token.claims["email"] == "alice@example.com"
    assert len(said) == 1
    assert "SHA-1" in said[0]
    assert len(dex.forms) == 4
    for kind, form in zip(order, dex.forms, strict=True):
        signed, blob, _, _ = split(form["subject_token"])
        verify(key_set[kind].line, signed, blob)
    assert [request for request in dex.requests if request[0] == "GET"] == [dex.requests[0]]


def test_all_keys_refused(
    dex: FakeDex,
    settings: LoginSettings,
    ssh_agent: SshAgent,
    key_set: dict[str, SshKeyFiles],
    fingerprint_of: Callable[[str], str],
) -> None:
    for kind in ("ed25519", "ecdsa-256"):
        ssh_agent.add(key_set[kind].private)
    with pytest.raises(LoginRefused) as caught:
        log_in(settings)
    for kind in ("ed25519", "ecdsa-256"):
        assert fingerprint_of(key_set[kind].line) in caught.value.message
    assert "registered" in caught.value.fix
    assert len(dex.forms) == 2


def test_any_other_refusal_ends_the_trying(
    dex: FakeDex, settings: LoginSettings, ssh_agent: SshAgent, key_set: dict[str, SshKeyFiles]
) -> None:
    for kind in ("ed25519", "ecdsa-256"):
        ssh_agent.add(key_set[kind].private)
    with pytest.raises(LoginRefused, match="the client 'other'"):
        log_in(dataclasses.replace(settings, client_id="other"))
    assert len(dex.forms) == 1


def test_a_key_that_will_not_sign_leads_to_the_next(
    dex: FakeDex,
    settings: LoginSettings,
    key_set: dict[str, SshKeyFiles],
    fake_agent: Callable[..., FakeAgent],
    listing: Callable[..., bytes],
    blob_of: Callable[[str], bytes],
) -> None:
    lines = key_set["ed25519"].line, key_set["ecdsa-256"].line

    def handle(request: bytes) -> bytes:
        if request[0] == 11:
            return listing(*((blob_of(line), b"k") for line in (*lines, lines[0])))
        return b"\x05"

    fake_agent(handle)
    with pytest.raises(NoUsableKey, match=r"ED25519 .*; .*ECDSA") as caught:
        log_in(settings)
    assert caught.value.message.count("refuses to sign") == 2  # The third is the first again.
    assert dex.forms == []


def test_rsa_can_be_left_out(
    dex: FakeDex, settings: LoginSettings, ssh_agent: SshAgent, key_set: dict[str, SshKeyFiles]
) -> None:
    ssh_agent.add(key_set["rsa"].private)
    without = dataclasses.replace(settings, allow_rsa_sha1=False)
    for chosen in (without, with_key(without, key_set["rsa"])):
        with pytest.raises(NoUsableKey, match="SHA-1"):
            log_in(chosen)
    assert dex.requests == []
    ssh_agent.add(key_set["ed25519"].private)
    dex.know(key_set["ed25519"])
    log_in(without)
    assert len(dex.forms) == 1


def test_skipped_keys_are_told(
    dex: FakeDex,
    settings: LoginSettings,
    fake_agent: Callable[..., FakeAgent],
    listing: Callable[..., bytes],
) -> None:
    sk = b"\0\0\0\x1ask-ssh-ed25519@openssh.com" + b"\0\0\0\x01x"
    fake_agent(lambda request: listing((sk, b"yubikey")))
    said: list[str] = []
    with pytest.raises(NoUsableKey, match=r"no key that can log in: .*security key"):
        login(settings, say=said.append)
    assert said == ["skipped the agent's key yubikey: " + said[0].partition(": ")[2]]
    assert dex.requests == []


def test_no_agent_and_no_key(dex: FakeDex, settings: LoginSettings) -> None:
    with pytest.raises(AgentUnavailable, match="SSH_AUTH_SOCK is not set"):
        log_in(settings)
    assert dex.requests == []


def test_an_empty_agent(settings: LoginSettings, ssh_agent: SshAgent) -> None:
    with pytest.raises(NoUsableKey, match="the SSH agent holds no keys") as caught:
        log_in(settings)
    assert "ssh-add" in caught.value.fix


def test_a_locked_agent(
    settings: LoginSettings, ssh_agent: SshAgent, key_set: dict[str, SshKeyFiles]
) -> None:
    ssh_agent.add(key_set["ed25519"].private)
    ssh_agent.lock("pw")
    with pytest.raises(AgentUnavailable, match="looks locked"):
        log_in(settings)


@pytest.mark.parametrize("state", ["unset", "stale", "locked", "empty", "hung"])
def test_a_private_file_makes_up_for_the_agent(
    state: str,
    dex: FakeDex,
    settings: LoginSettings,
    key_set: dict[str, SshKeyFiles],
    ssh_agent: SshAgent,
    alone: SshKeyFiles,
    fake_agent: Callable[..., FakeAgent],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    reasons = {
        "unset": "SSH_AUTH_SOCK is not set",
        "stale": "no SSH agent listens",
        "locked": "looks locked",
        "empty": "does not hold it",
        "hung": "does not answer",
    }
    monkeypatch.setattr(agent_module, "LIST_SECONDS", 0.2 if state == "hung" else 5.0)
    if state == "unset":
        monkeypatch.delenv("SSH_AUTH_SOCK")
    elif state == "stale":
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    elif state == "locked":
        ssh_agent.lock("pw")
    elif state == "hung":
        fake_agent(lambda request: None)
    dex.know(key_set["ed25519"])
    log_in(with_key(settings, key_set["ed25519"]))
    # Without it, the agent's trouble is part of what is said.
    with pytest.raises(NoUsableKey, match=f"{reasons[state]}.*no private key is beside it"):
        login(with_key(settings, alone), use_cache=False)


def test_a_public_key_without_pub(
    settings: LoginSettings, key_set: dict[str, SshKeyFiles], tmp_path: Path
) -> None:
    shutil.copy(key_set["ed25519"].public, tmp_path / "key")
    with pytest.raises(NoUsableKey, match=r"does not end in \.pub"):
        log_in(dataclasses.replace(settings, pubkey_file=tmp_path / "key"))


def test_the_passphrase_is_asked_after_dex_answered(
    dex: FakeDex, settings: LoginSettings, tmp_path: Path
) -> None:
    files = make_ssh_key(tmp_path, passphrase="correct horse")
    dex.know(files)
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        assert dex.requests
        return "correct horse"

    log_in(with_key(settings, files), ask_passphrase=ask)
    assert len(prompts) == 1


def test_dex_is_down(settings: LoginSettings, key_set: dict[str, SshKeyFiles]) -> None:
    down = dataclasses.replace(settings, dex_url="http://127.0.0.1:9")
    with pytest.raises(IssuerUnreachable, match="127"):
        log_in(with_key(down, key_set["ed25519"]))


@pytest.mark.parametrize(
    ("change", "says", "fix"),
    [
        ({"dex_url": ""}, "which Dex", "DEX_URL"),
        ({"client_id": ""}, "which client", "IMGCTL_CLIENT_ID"),
        ({"audience": ""}, "who the token is for", "IMGCTL_AUDIENCE"),
        ({"connector_id": ""}, "which connector", "IMGCTL_CONNECTOR_ID"),
        ({"audience_mode": "cross_client"}, "--audience-mode", "cross-client"),
        ({"dex_url": "http://dex.example.com"}, "not encrypted", "https://"),
        ({"dex_url": "dex.example.com"}, "not an https", "https://"),
        # Bytes that are no UTF-8 reach Python's texts as lone surrogates.
        ({"client_id": "a\udcff"}, "--client-id .* can't be seen", "IMGCTL_CLIENT_ID"),
        ({"audience": "a\x1b[2J"}, "--audience .* can't be seen", "IMGCTL_AUDIENCE"),
        ({"connector_id": "ssh\n"}, "--connector-id .* can't be seen", "IMGCTL_CONNECTOR_ID"),
        ({"username": "al\u200bice"}, "--username .* can't be seen", "KUBECTL_SSH_USER"),
        ({"client_secret": "hunter2\udcff"}, "secret is not UTF-8", "IMGCTL_CLIENT_SECRET"),
    ],
)
def test_wrong_settings_end_it_at_once(
    change: dict[str, str],
    says: str,
    fix: str,
    settings: LoginSettings,
    key_set: dict[str, SshKeyFiles],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = dataclasses.replace(with_key(settings, key_set["ed25519"]), **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting, match=says) as caught:
        log_in(wrong)
    assert fix in caught.value.fix
    assert (caught.value.message + caught.value.fix).isprintable()
    assert "hunter2" not in caught.value.message + caught.value.fix


def test_the_name_of_the_user(
    dex: FakeDex,
    settings: LoginSettings,
    key_set: dict[str, SshKeyFiles],
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dex.know(key_set["ed25519"])
    chosen = with_key(settings, key_set["ed25519"])
    log_in(dataclasses.replace(chosen, username="carol"))
    monkeypatch.setattr(getpass, "getuser", lambda: "dave")
    log_in(dataclasses.replace(chosen, username=""))
    subjects = [split(form["subject_token"])[3]["sub"] for form in dex.forms]
    assert subjects == ["carol", "dave"]


def test_a_machine_without_a_name_for_its_user(
    settings: LoginSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    with pytest.raises(InvalidSetting, match="no name for its user") as caught:
        log_in(dataclasses.replace(settings, username=""))
    assert "KUBECTL_SSH_USER" in caught.value.fix


def test_the_second_time_is_from_the_cache(
    dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles]
) -> None:
    dex.know(key_set["ed25519"])
    chosen = with_key(settings, key_set["ed25519"])
    first, _ = log_in(chosen)
    asked = len(dex.requests)
    assert log_in(chosen) == (first, [])
    assert len(dex.requests) == asked
    # Another purpose is another token.
    log_in(dataclasses.replace(chosen, audience="https://other.example.com"))
    assert len(dex.forms) == 2


def test_a_new_token_on_demand_replaces_the_cached_one(
    dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles]
) -> None:
    dex.know(key_set["ed25519"])
    chosen = with_key(settings, key_set["ed25519"])
    first, _ = log_in(chosen)
    dex.lifetime = 7200
    second, _ = log_in(chosen, use_cache=False)
    assert second != first
    assert log_in(chosen) == (second, [])


def test_a_token_about_to_end_is_not_used(
    dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles]
) -> None:
    dex.know(key_set["ed25519"])
    dex.lifetime = 30
    chosen = with_key(settings, key_set["ed25519"])
    log_in(chosen)
    log_in(chosen)
    assert len(dex.forms) == 2


def test_another_key_is_another_token(
    dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles], tmp_path: Path
) -> None:
    dex.know(key_set["ed25519"])
    dex.know(key_set["ecdsa-256"], "bob")
    assert log_in(with_key(settings, key_set["ed25519"]))[0].claims["email"] == "alice@example.com"
    assert log_in(with_key(settings, key_set["ecdsa-256"]))[0].claims["email"] == "bob@example.com"


def test_a_file_whose_key_changed_is_another_key(
    dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles], tmp_path: Path
) -> None:
    dex.know(key_set["ed25519"])
    dex.know(key_set["ecdsa-256"], "bob")
    users = []
    for kind in ("ed25519", "ecdsa-256"):
        shutil.copy(key_set[kind].public, tmp_path / "id.pub")
        shutil.copy(key_set[kind].private, tmp_path / "id")
        token, _ = log_in(dataclasses.replace(settings, pubkey_file=tmp_path / "id.pub"))
        users.append(token.claims["email"])
    assert users == ["alice@example.com", "bob@example.com"]


def test_no_room_for_a_cache(
    dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles], tmp_path: Path
) -> None:
    dex.know(key_set["ed25519"])
    (tmp_path / "file").write_text("")
    chosen = dataclasses.replace(
        with_key(settings, key_set["ed25519"]), cache_dir=tmp_path / "file"
    )
    token, said = log_in(chosen)
    assert token.claims["email"] == "alice@example.com"
    assert len(said) == 1
    assert "could not be kept" in said[0]


def test_logout(dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles]) -> None:
    for kind in ("ed25519", "rsa"):
        dex.know(key_set[kind])
    chosen = with_key(settings, key_set["ed25519"])
    other = dataclasses.replace(chosen, audience="https://other.example.com")
    forget = functools.partial(logout, cache_dir=settings.cache_dir)
    assert forget(settings.dex_url, settings.audience) == 0
    for each in (chosen, with_key(settings, key_set["rsa"]), other):
        log_in(each)
    # Of every key, and of nothing else: a slash at the end makes no other issuer.
    assert forget("https://dex.elsewhere.example", settings.audience) == 0
    assert forget(settings.dex_url + "/", settings.audience) == 2
    for each in (chosen, other):
        log_in(each)
    assert len(dex.forms) == 4
    assert forget(everything=True) == 2
    log_in(other)
    assert len(dex.forms) == 5


def test_a_logout_that_fails_says_so(
    settings: LoginSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.cache_dir is not None
    settings.cache_dir.mkdir(mode=0o700)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(InvalidSetting, match="belongs to another user") as caught:
        logout(everything=True, cache_dir=settings.cache_dir)
    assert "by hand" in caught.value.fix


def test_the_cache_is_where_xdg_says(
    dex: FakeDex, settings: LoginSettings, key_set: dict[str, SshKeyFiles], home: Path
) -> None:
    dex.know(key_set["ed25519"])
    log_in(dataclasses.replace(with_key(settings, key_set["ed25519"]), cache_dir=None))
    assert len(list((home / ".cache" / "imgctl").iterdir())) == 1


def test_no_secret_is_logged_or_said(
    dex: FakeDex,
    settings: LoginSettings,
    key_set: dict[str, SshKeyFiles],
    ssh_agent: SshAgent,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    dex.know(key_set["rsa"])
    ssh_agent.add(key_set["rsa"].private)
    token, said = log_in(settings)
    out, err = capfd.readouterr()
    everything = "\n".join([caplog.text, out, err, *said])
    for secret in (token.value, dex.forms[0]["subject_token"], settings.client_secret):
        assert secret not in everything


CACHED = """
import sys
from pathlib import Path
from imgctl_core.client.login import LoginSettings, login
settings = LoginSettings(
    sys.argv[1], "imgctl-cli", "wrong by now", sys.argv[2], username="alice",
    pubkey_file=Path(sys.argv[3]) if sys.argv[3] else None, cache_dir=Path(sys.argv[4]),
)
print(login(settings).claims["email"])
heavy = {
    "paramiko", "sshpubkeys", "cryptography", "ecdsa", "urllib3", "ssl", "email", "http",
    "asyncio", "pydantic", "pluggy", "boto3", "logging", "importlib.metadata", "tempfile",
}
print(*sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("by_agent", [False, True])
def test_a_cached_login_imports_next_to_nothing(
    by_agent: bool,
    dex: FakeDex,
    settings: LoginSettings,
    key_set: dict[str, SshKeyFiles],
    ssh_agent: SshAgent,
) -> None:
    files = key_set["ed25519"]
    dex.know(files)
    ssh_agent.add(files.private)
    log_in(settings if by_agent else with_key(settings, files))
    asked = len(dex.requests)
    public = "" if by_agent else str(files.public)
    arguments = [settings.dex_url, settings.audience, public, str(settings.cache_dir)]
    done = subprocess.run(
        [sys.executable, "-c", CACHED, *arguments], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["alice@example.com", ""]
    assert len(dex.requests) == asked
