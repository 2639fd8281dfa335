"""The real servers of the kit are real: they answer, they ask for passwords, they end."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from imgctl_core.testing.fixtures import MakeDockerRegistry, MakeSshKeys, MakeVersityGateway
from imgctl_core.testing.peers import ServerProcess, accepts, find_program
from imgctl_core.testing.ssh import SshAgent
from imgctl_core.testing.tls import make_tls_files


def _get(url: str, ca_file: Path | None = None, login: str = "") -> int:
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    context = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_plain_registry_answers_and_ends(docker_registry: MakeDockerRegistry) -> None:
    registry = docker_registry()
    assert registry.url == f"http://{registry.host}"
    assert _get(f"{registry.url}/v2/") == 200
    registry.process.stop()
    assert not accepts(int(registry.host.rpartition(":")[2]))


def test_a_registry_with_password_and_tls(docker_registry: MakeDockerRegistry) -> None:
    registry = docker_registry(tls=True, htpasswd=True)
    assert registry.url.startswith("https://")
    assert _get(f"{registry.url}/v2/", registry.ca_file) == 401
    login = f"{registry.username}:{registry.password}"
    assert _get(f"{registry.url}/v2/", registry.ca_file, login) == 200


def test_two_authorities_do_not_trust_each_other(
    docker_registry: MakeDockerRegistry, tmp_path: Path
) -> None:
    registry = docker_registry(tls=True)
    other = make_tls_files(tmp_path / "other")
    with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
        _get(f"{registry.url}/v2/", other.ca)


def test_an_expired_certificate_is_one(docker_registry: MakeDockerRegistry, tmp_path: Path) -> None:
    files = make_tls_files(tmp_path / "old", expired=True)
    registry = docker_registry(tls=files)
    with pytest.raises(urllib.error.URLError, match="certificate has expired"):
        _get(f"{registry.url}/v2/", files.ca)


def test_the_s3_server_knows_its_keys(versitygw: MakeVersityGateway) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    gateway = versitygw()

    def client(secret: str) -> object:
        return boto3.client(
            "s3",
            endpoint_url=gateway.endpoint_url,
            region_name=gateway.region,
            aws_access_key_id=gateway.access_key,
            aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "path"}),
        )

    good, bad = client(gateway.secret_key), client("wrong")
    good.create_bucket(Bucket="shop-dev")  # type: ignore[attr-defined]
    good.put_object(Bucket="shop-dev", Key="a.txt", Body=b"hello")  # type: ignore[attr-defined]
    assert (gateway.root / "shop-dev" / "a.txt").read_bytes() == b"hello"
    with pytest.raises(ClientError):
        bad.list_buckets()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_keys_and_agent(kind: str, ssh_agent: SshAgent, ssh_keys: MakeSshKeys) -> None:
    from paramiko import Agent

    key = ssh_keys(kind, passphrase="open sesame")
    assert os.environ["SSH_AUTH_SOCK"] == str(ssh_agent.socket)
    with pytest.raises(RuntimeError, match="ssh-add failed"):
        ssh_agent.add(key.private, passphrase="wrong")
    ssh_agent.add(key.private, passphrase="open sesame")
    agent = Agent()
    try:
        assert [held.get_base64() for held in agent.get_keys()] == [key.line.split()[1]]
    finally:
        agent.close()


def test_a_locked_agent_shows_no_keys(ssh_agent: SshAgent, ssh_keys: MakeSshKeys) -> None:
    ssh_agent.add(ssh_keys().private)

    def listed() -> int:
        command = ["ssh-add", "-l"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert listed() == 0
    ssh_agent.lock("shut")
    assert listed() == 1
    ssh_agent.unlock("shut")
    assert listed() == 0


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    process = ServerProcess(["sh", "-c", "echo no luck; exit 3"], tmp_path / "log.txt", {})
    with pytest.raises(RuntimeError, match="sh ended at once; it said: no luck"):
        process.wait_until(lambda: False)


def test_programs_in_the_own_folder_come_first(tmp_path: Path) -> None:
    own = tmp_path / "sh"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert find_program("sh", [tmp_path]) == own
    assert find_program("sh") not in (None, own)
    assert find_program("no-such-program-anywhere") is None
