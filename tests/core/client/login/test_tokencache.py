"""Tokens on disk."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from imgctl_core.client.login import LoginSettings
from imgctl_core.client.tokencache import TokenCache, default_directory, entry_name
from imgctl_core.client.tokens import Token

NOW = 1_000_000.0
NAME = "a" * 64 + ".jwt"

MakeToken = Callable[..., Token]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "imgctl"


@pytest.fixture
def cache(directory: Path) -> TokenCache:
    return TokenCache(str(directory))


@pytest.fixture
def token(make_token: MakeToken) -> Token:
    return make_token(exp=NOW + 3600, aud="https://i", sub="alice")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_there_and_back(cache: TokenCache, directory: Path, token: Token) -> None:
    assert cache.load(NAME, NOW) is None
    assert cache.store(NAME, token)
    assert cache.load(NAME, NOW) == token
    assert cache.load("b" * 64 + ".jwt", NOW) is None
    assert mode(directory) == 0o700
    assert mode(directory / NAME) == 0o600
    assert [path.name for path in directory.iterdir()] == [NAME]


def test_a_wide_umask_widens_nothing(cache: TokenCache, directory: Path, token: Token) -> None:
    old = os.umask(0)
    try:
        cache.store(NAME, token)
    finally:
        os.umask(old)
    assert mode(directory) == 0o700
    assert mode(directory / NAME) == 0o600


def test_dropped_a_minute_before_its_end(cache: TokenCache, directory: Path, token: Token) -> None:
    cache.store(NAME, token)
    assert cache.load(NAME, token.expires_at - 60.5) == token
    assert cache.load(NAME, token.expires_at - 60) is None
    assert list(directory.iterdir()) == []


def test_forget(cache: TokenCache, directory: Path, token: Token) -> None:
    assert cache.forget(lambda held: True) == 0
    cache.store(NAME, token)
    other = "0" * 64 + ".jwt"
    cache.store(other, token)
    asked: list[Token] = []

    def keep(held: Token) -> bool:
        asked.append(held)
        return False

    assert cache.forget(keep) == 0
    assert asked == [token, token]
    assert cache.forget(lambda held: True) == 2
    assert list(directory.iterdir()) == []


def test_forget_takes_what_cannot_be_used_and_nothing_else(
    cache: TokenCache, directory: Path, token: Token
) -> None:
    cache.store(NAME, token)
    cache.store("0" * 64 + ".jwt", token)
    (directory / ("0" * 64 + ".jwt")).chmod(0o644)
    (directory / f".{NAME}.{'a' * 16}").write_text("half")
    (directory / "notes.txt").write_text("not ours")
    elsewhere = directory.parent / "elsewhere"
    elsewhere.write_text("theirs")
    (directory / ("1" * 64 + ".jwt")).symlink_to(elsewhere)
    assert cache.forget(lambda held: False) == 2
    assert {path.name for path in directory.iterdir()} == {NAME, "notes.txt"}
    assert elsewhere.read_text() == "theirs"


def test_a_token_that_can_not_be_forgotten_is_told(
    cache: TokenCache, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    cache.store(NAME, token)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        cache.forget(lambda held: True)


def test_replaced_in_one_step(
    cache: TokenCache, directory: Path, token: Token, make_token: MakeToken
) -> None:
    cache.store(NAME, token)
    with (directory / NAME).open("rb") as reader:
        newer = make_token(exp=NOW + 7200)
        cache.store(NAME, newer)
        assert reader.read().decode() == token.value  # The old file, whole.
    assert cache.load(NAME, NOW) == newer


@pytest.mark.parametrize(
    "content",
    [b"", b"rubbish", b"a.b.c", b"\xff.\xff.\xff", b"x" * 70_000, b"e30.e30.e30", b"e30.W10.e30"],
)
def test_rubbish_is_no_token(
    content: bytes, cache: TokenCache, directory: Path, token: Token
) -> None:
    cache.store(NAME, token)
    (directory / NAME).write_bytes(content)
    assert cache.load(NAME, NOW) is None
    assert cache.store(NAME, token)
    assert cache.load(NAME, NOW) == token


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_file_that_others_may_touch(
    wide: int, cache: TokenCache, directory: Path, token: Token
) -> None:
    cache.store(NAME, token)
    (directory / NAME).chmod(wide)
    assert cache.load(NAME, NOW) is None
    cache.store(NAME, token)
    assert mode(directory / NAME) == 0o600
    assert cache.load(NAME, NOW) == token


def test_a_foreign_file(
    cache: TokenCache, directory: Path, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(NAME, token)
    real = os.fstat

    def foreign(file: int) -> os.stat_result:
        status = real(file)
        if stat.S_ISREG(status.st_mode):
            return os.stat_result((*status[:4], status.st_uid + 1, *status[5:10]))
        return status

    monkeypatch.setattr(os, "fstat", foreign)
    assert cache.load(NAME, NOW) is None


def test_a_foreign_directory(
    cache: TokenCache, token: Token, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(NAME, token)
    monkeypatch.setattr(os, "geteuid", lambda: directory.stat().st_uid + 1)
    assert cache.load(NAME, NOW) is None
    assert not cache.store(NAME, token)
    with pytest.raises(PermissionError):
        cache.forget(lambda held: True)


def test_symlinks_are_not_followed(cache: TokenCache, directory: Path, token: Token) -> None:
    cache.store(NAME, token)
    elsewhere = directory.parent / "elsewhere"
    (directory / NAME).rename(elsewhere)
    (directory / NAME).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    assert cache.load(NAME, NOW) is None
    assert cache.store(NAME, token)
    assert not (directory / NAME).is_symlink()
    assert elsewhere.read_bytes() == before


def test_a_symlinked_directory(cache: TokenCache, directory: Path, token: Token) -> None:
    cache.store(NAME, token)
    directory.rename(directory.parent / "elsewhere")
    directory.symlink_to(directory.parent / "elsewhere")
    assert cache.load(NAME, NOW) is None
    assert not cache.store(NAME, token)


def test_a_wide_directory_is_narrowed(cache: TokenCache, directory: Path, token: Token) -> None:
    cache.store(NAME, token)
    directory.chmod(0o777)
    assert cache.load(NAME, NOW) == token
    assert mode(directory) == 0o700


def test_a_named_pipe_does_not_hang(cache: TokenCache, directory: Path, token: Token) -> None:
    cache.store(NAME, token)
    (directory / NAME).unlink()
    os.mkfifo(directory / NAME, 0o600)
    assert cache.load(NAME, NOW) is None


def test_no_room_to_write(directory: Path, token: Token) -> None:
    directory.parent.mkdir()
    directory.write_text("a file")
    cache = TokenCache(str(directory))
    assert not cache.store(NAME, token)
    assert cache.load(NAME, NOW) is None


def test_a_failed_write_leaves_nothing(
    cache: TokenCache, directory: Path, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert not cache.store(NAME, token)
    assert list(directory.iterdir()) == []


def test_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_directory() == "/somewhere/imgctl"
    for ignored in ("relative/path", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert default_directory() == f"{tmp_path}/.cache/imgctl"


def test_nowhere_without_a_home(
    token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "~")
    monkeypatch.chdir(tmp_path)
    cache = TokenCache(default_directory())
    assert not cache.store(NAME, token)
    assert cache.load(NAME, NOW) is None
    assert list(tmp_path.iterdir()) == []


BASE = LoginSettings(
    dex_url="https://dex.example.com/dex",
    client_id="cli",
    client_secret="s3cret",
    audience="https://i",
    username="alice",
)


@pytest.mark.parametrize(
    "change",
    [
        {"dex_url": "https://dex.example.org/dex"},
        {"client_id": "cli2"},
        {"audience": "https://j"},
        {"audience_mode": "cross-client"},
        {"connector_id": "ssh2"},
        {"username": "bob"},
    ],
)
def test_one_name_for_one_purpose(change: dict[str, str]) -> None:
    other = dataclasses.replace(BASE, **change)  # type: ignore[arg-type]
    assert entry_name(BASE, key="k") != entry_name(other, key="k")


def test_keys_have_names_of_their_own() -> None:
    assert entry_name(BASE, key="k") != entry_name(BASE, key="l")


@pytest.mark.parametrize(
    "change", [{"dex_url": "https://dex.example.com/dex/"}, {"client_secret": "new"}]
)
def test_what_makes_no_difference(change: dict[str, str]) -> None:
    other = dataclasses.replace(BASE, **change)  # type: ignore[arg-type]
    name = entry_name(BASE, key="k")
    assert entry_name(other, key="k") == name
    assert name.endswith(".jwt")
    assert len(name) == 68
