"""Logging in at an issuer and being let in by a server, in every way there is."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.testing.issuer import ABSENT, Issuer, User

CLI = (sys.executable, "-W", "error", "-m", "imgctl_cli")
CLIENTS = {"imgctl-cli": "very-secret", "imgctl": "other", "stranger": "secret"}


@pytest.fixture
def stock(stack: Any, registries: Any) -> Iterator[Any]:
    """Return a stack whose issuer is Dex without the fork's `audience` parameter."""
    users = {"alice": stack.issuer.users["alice"]}
    peers = {"imgctl": ("imgctl-cli", "stranger")}
    with Issuer(users, CLIENTS, trusted_peers=peers, mode="upstream", path="/dex") as issuer:
        stack.client |= {"DEX_URL": issuer.url, "IMGCTL_AUDIENCE_MODE": "cross-client"}
        stack.client["IMGCTL_AUDIENCE"] = "imgctl"
        stack.issuer = issuer
        stack.server_settings |= {"OIDC_ISSUER_URL": issuer.url, "OIDC_AUDIENCE": "imgctl"}
        yield stack


def test_by_the_audience_parameter(stack: Any, registries: Any) -> None:
    stack.start()
    shown = stack.run("login", "-o", "json")
    assert shown.code == 0, shown.err
    assert shown.json["audiences"] == ["https://127.0.0.1"]
    assert shown.json["email"] == "alice@example.com"
    assert "token" not in shown.json
    assert stack.run("auth-check").code == 0


def test_by_a_cross_client_scope(stock: Any) -> None:
    """The token has two audiences, and `azp` for the client that got it."""
    stock.start()
    shown = stock.run("login", "-o", "json", "--show-token")
    assert shown.code == 0, shown.err
    assert shown.json["audiences"] == ["imgctl", "imgctl-cli"]
    assert _claims(shown.json["token"])["azp"] == "imgctl-cli"
    checked = stock.run("auth-check", "-o", "json")
    assert checked.code == 0, checked.err
    assert checked.json["matched_group"] == "eng"


def test_stock_dex_and_the_audience_parameter(stock: Any) -> None:
    done = stock.run("login", env={"IMGCTL_AUDIENCE_MODE": "audience"})
    assert done.code == 4
    assert "--audience-mode cross-client" in done.err


def test_a_client_that_is_not_trusted(stock: Any) -> None:
    done = stock.run("login", env={"IMGCTL_AUDIENCE": "stranger"})
    assert done.code == 4
    assert "add imgctl-cli to trustedPeers of the client stranger" in done.err


def test_a_token_without_azp_for_two_is_not_let_in(stock: Any) -> None:
    """As a careless issuer would make it: a good signature is not all that counts."""
    stock.start()
    assert stock.run("login").code == 0
    (cached,) = Path(os.environ["XDG_CACHE_HOME"], "imgctl").iterdir()
    earlier = int(time.time()) - 60
    for azp in (ABSENT, "imgctl-cli"):
        times = {"iat": earlier, "exp": earlier + 3600}
        token = stock.issuer.token(audience=["imgctl", "imgctl-cli"], azp=azp, **times)
        cached.write_text(token)
        checked = stock.run("auth-check")
        # A refused one costs a login afresh, which gets us in all the same.
        assert checked.code == 0, checked.err
        assert ("the server refused the cached token" in checked.err) is (azp is ABSENT)


def test_out_and_in_again(stack: Any, registries: Any) -> None:
    stack.start()
    asked = len(stack.issuer.requests)
    assert stack.run("auth-check").code == 0
    once = len(stack.issuer.requests)
    assert once > asked
    assert stack.run("auth-check").code == 0
    assert len(stack.issuer.requests) == once
    assert stack.run("logout").out == "forgot 1 cached token\n"
    assert stack.run("auth-check").code == 0
    assert len(stack.issuer.requests) > once


def test_rsa_switched_off(stack: Any, ssh_keys: Callable[..., Any], registries: Any) -> None:
    rsa = ssh_keys("rsa")
    stack.issuer.users["alice"] = User(keys=(rsa.line,), groups=("eng",))
    stack.client |= {"IMGCTL_PUBKEY_FILE": str(rsa.public), "IMGCTL_SERVER": "127.0.0.1:1"}
    weak = stack.run("login")
    assert weak.code == 0
    assert "SHA-1, which is weak" in weak.err
    done = stack.run("login", "--no-rsa-sha1")
    assert done.code == 4
    assert "Ed25519" in done.err


@pytest.mark.parametrize(
    ("typed", "code"), [(("no", "nor \udcff", "hunter2"), 0), (("no",) * 3, 4)]
)
def test_a_passphrase_is_asked_three_times_at_a_terminal(
    typed: tuple[str, ...], code: int, stack: Any, ssh_keys: Callable[..., Any]
) -> None:
    key = ssh_keys(passphrase="hunter2")
    stack.issuer.users["alice"] = User(keys=(key.line,), groups=("eng",))
    stack.client |= {"IMGCTL_PUBKEY_FILE": str(key.public), "IMGCTL_SERVER": "127.0.0.1:1"}
    shown, ended = _at_a_terminal(stack, typed, "login")
    assert ended == code, shown
    assert shown.count("Passphrase for") == 3
    assert "hunter2" not in shown


def _at_a_terminal(stack: Any, typed: tuple[str, ...], *arguments: str) -> tuple[str, int]:
    """Run imgctl at a terminal, and type a line at each question."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*CLI, *arguments],
        env={**stack._base(), **stack.client},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        shown, left = "", list(typed)
        while select.select([master], [], [], 60)[0]:
            try:
                shown += os.read(master, 4096).decode()
            except OSError:  # Linux says so when the last one has hung up.
                break
            asked = shown.count("Passphrase for") if shown.endswith(": ") else 0
            if left and asked > len(typed) - len(left):
                os.write(master, f"{left.pop(0)}\n".encode("utf-8", "surrogateescape"))
        code = process.wait(60)
    os.close(master)
    return shown, code


def _claims(token: str) -> dict[str, Any]:
    from base64 import urlsafe_b64decode

    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
