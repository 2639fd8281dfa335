"""Every way it can go wrong: one clear message, the right exit code, nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from imgctl_core.testing.images import sample_image
from imgctl_core.testing.peers import free_port

SECRETS = ("very-secret", "Traceback", 'File "')


@pytest.fixture(scope="module")
def serving(shared_stack: Any, shared_registries: Any) -> Any:
    """Return the one stack that refuses everything here, with an image in dev."""
    dev, _, prod = shared_registries
    dev.put_image("app", "v1", sample_image("bad"))
    prod.put_image("taken", "v1", sample_image("theirs"))
    dev.put_image("taken", "v1", sample_image("ours"))
    shared_stack.start(IMGCTL_REGISTRY_AWAY=f"http://127.0.0.1:{free_port()}")
    return shared_stack


@pytest.fixture
def promoted(serving: Any) -> Any:
    """Return that stack with settings of the client's that are this test's own."""
    return replace(serving, client=dict(serving.client))


def _check(done: Any, code: int, *texts: str) -> None:
    assert done.code == code, (done.code, done.err, done.out)
    assert done.out == "" or done.out.startswith(("failed", "conflict"))
    assert done.err.count("error: ") == 1, done.err
    for text in texts:
        assert text in done.err
    for secret in SECRETS:
        assert secret not in done.err + done.out


@pytest.mark.parametrize(
    ("arguments", "code", "texts"),
    [
        (("app:v1", "--source", "dev", "-d", "prdo"), 9, ("'prdo'", "'prod'")),
        (("app:v1", "--source", "dev"), 2, ("destination",)),
        (("app:v1", "-d", "prod"), 2, ("source",)),
        (("app", "--source", "dev", "-d", "prod"), 2, ("app:v1.0.0",)),
        (("App:v1", "--source", "dev", "-d", "prod"), 2, ("App",)),
        (("evil.example.com/app:v1", "--source", "dev", "-d", "prod"), 2, ("evil.example.com",)),
        (("helm:chart:1", "--source", "dev", "-d", "prod"), 2, ("'helm'", "image")),
        (("app:v2", "--source", "dev", "-d", "prod"), 9, ("v2", "dev")),
        (("app:v1", "--source", "dev", "-d", "away"), 1, ("127.0.0.1:", "refused")),
        (("app:v1", "--source", "away", "-d", "prod"), 1, ("127.0.0.1:", "refused")),
        (("app:v1", "--source", "dev", "-d", "DEV"), 2, ("dev",)),
        (("taken:v1", "--source", "dev", "-d", "prod"), 8, ("sha256:", "--on-conflict")),
        (("spa:shop:1", "--source", "dev", "-d", "prod"), 9, ("spa",)),
        (("app:v1@sha256:" + "0" * 64, "--source", "dev", "-d", "prod"), 9, ("sha256:000",)),
    ],
)
def test_refused(promoted: Any, arguments: tuple[str, ...], code: int, texts: Any) -> None:
    done = promoted.run("promote", *arguments)
    _check(done, code, *texts)
    as_json = promoted.run("promote", *arguments, "-o", "json")
    assert as_json.code == code
    error = json.loads(as_json.err)["error"]
    assert set(error) == {"reason", "message", "fix", "id"}


def test_nothing_is_left_at_the_destination(promoted: Any, shared_registries: Any) -> None:
    for ref in ("app:v2", "taken:v1"):
        promoted.promote(ref)
    assert shared_registries[2].repositories == ("taken",)


def test_a_user_in_no_allowed_group(promoted: Any) -> None:
    bob = ("-u", "bob", "-f", promoted.client["BOB_KEY"])
    _check(promoted.promote("app:v1", *bob), 5, "bob@example.com", "eng")
    checked = promoted.run("auth-check", *bob)
    assert checked.code == 1
    assert "eng" in checked.err


def test_dex_is_down(promoted: Any) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    _check(promoted.promote("app:v1", "--dex-url", url), 10, url)


def test_the_server_is_not_there(promoted: Any) -> None:
    address = f"127.0.0.1:{free_port()}"
    _check(promoted.promote("app:v1", "-s", address), 10, address)


def test_no_ssh_key(promoted: Any, home: Any) -> None:
    promoted.client["IMGCTL_PUBKEY_FILE"] = ""
    _check(promoted.promote("app:v1"), 4, "key")
    _check(promoted.promote("app:v1", "-f", str(home / "none.pub")), 4, "none.pub")


def test_a_locked_agent(promoted: Any, ssh_agent: Any, ssh_keys: Callable[..., Any]) -> None:
    ssh_agent.add(ssh_keys().private)
    ssh_agent.lock("passphrase")
    promoted.client |= {"IMGCTL_PUBKEY_FILE": "", **ssh_agent.env}
    _check(promoted.promote("app:v1"), 4, "agent")


def test_a_key_that_dex_does_not_know(promoted: Any, ssh_keys: Callable[..., Any]) -> None:
    _check(promoted.promote("app:v1", "-f", str(ssh_keys().public)), 4, "Dex")


def test_an_encrypted_key_without_a_terminal(promoted: Any, ssh_keys: Callable[..., Any]) -> None:
    key = ssh_keys(passphrase="hunter2")
    done = promoted.promote("app:v1", "-f", str(key.public))
    _check(done, 4, "passphrase")


def test_a_wrong_client_secret(promoted: Any) -> None:
    done = promoted.run(
        "promote", "app:v1", "--source", "dev", "-d", "prod",
        env={"IMGCTL_CLIENT_SECRET": "wrong-secret"},
    )  # fmt: skip
    _check(done, 4, "secret")
    assert "wrong-secret" not in done.err


def test_a_token_for_somebody_else_is_explained_by_the_client(promoted: Any) -> None:
    done = promoted.promote("app:v1", "--audience", "https://other.example.com")
    _check(done, 4, "https://other.example.com")
    assert "https://other.example.com" not in promoted.log


def test_a_registry_that_refuses_the_server(
    stack: Any, docker_registry: Any, registries: Any
) -> None:
    registries[0].put_image("app", "v1", sample_image("denied"))
    private = docker_registry(htpasswd=True)
    stack.start(IMGCTL_REGISTRY_PROD=private.url)
    _check(stack.promote("app:v1"), 1, private.host, "credentials")


def test_an_unknown_promotion(promoted: Any) -> None:
    for command in ("watch", "cancel"):
        done = promoted.run(command, "pr_01M84S5SMT028Z4FC94D0498NY")
        _check(done, 9, "pr_01M84S5SMT028Z4FC94D0498NY")


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        ({"OIDC_ISSUER_URL": ""}, ("OIDC_ISSUER_URL",)),
        ({"OIDC_ALLOWED_GROUPS": ""}, ("OIDC_ALLOWED_GROUPS",)),
        ({"IMGCTL_BIND_ADDRESS": "0.0.0.0:0"}, ("--insecure-plaintext",)),
        ({"IMGCTL_REGISTRY_DEV": ""}, ("no environment has an endpoint",)),
        ({"IMGCTL_DEFAULT_SOURCE": "nowhere"}, ("nowhere",)),
        ({"IMGCTL_REGISTRY_DEV": "ftp://x"}, ("IMGCTL_REGISTRY_DEV",)),
    ],
)
def test_a_server_that_must_not_start(
    stack: Any, settings: dict[str, str], texts: tuple[str, ...]
) -> None:
    env = {**stack.server_settings, "IMGCTL_REGISTRY_DEV": "registry.example.com", **settings}
    for more in ((), ("--check",)):
        done = stack.run("server", *more, env=env)
        _check(done, 2, *texts)


def test_check_says_that_all_is_well(stack: Any) -> None:
    env = {**stack.server_settings, "IMGCTL_REGISTRY_DEV": "registry.example.com"}
    assert stack.run("server", "--check", env=env).code == 0
    assert not stack.audit_log.exists()
