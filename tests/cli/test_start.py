"""The command line as a process of its own: what it loads, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest

from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.client.login import LoginSettings, Token
from imgctl_core.client.tokencache import TokenCache, default_directory, entry_name

DIGEST = "sha256:" + "9f" * 32

#: Runs a command as the installed script does, then tells which modules that has loaded.
SPY = """
import json, sys
before = set(sys.modules)
from imgctl_cli.main import main
code = main()
sys.stdout.flush()
print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
sys.exit(code)
"""

HEAVY = {
    "boto3",
    "cryptography",
    "importlib.metadata",
    "jose",
    "paramiko",
    "pluggy",
    "pydantic",
    "requests",
    "rich",
    "sshpubkeys",
    "tomllib",
    "urllib3",
}


class Service(imgctl_pb2_grpc.ImgCtlServicer):
    """A server whose only promotion finds everything in place, or never ends."""

    def __init__(self) -> None:
        self.hang = Event()
        self.watched = Event()
        self.over = Event()

    def StartPromotion(self, request: Any, context: Any) -> pb.StartPromotionResponse:
        return pb.StartPromotionResponse(promotion=self._promotion(pb.OUTCOME_UNSPECIFIED))

    def WatchPromotion(self, request: Any, context: Any) -> Iterator[pb.WatchPromotionResponse]:
        context.add_callback(self.over.set)
        yield pb.WatchPromotionResponse(
            sequence=1,
            progress=pb.Progress(
                phase=pb.PHASE_STAGE,
                items=[pb.ItemProgress(ref="myapp:v1", phase=pb.PHASE_STAGE)],
            ),
        )
        self.watched.set()
        if self.hang.is_set():
            self.over.wait(60)
        yield pb.WatchPromotionResponse(sequence=2, result=self._promotion(pb.OUTCOME_UNCHANGED))

    def _promotion(self, outcome: pb.Outcome.ValueType) -> pb.Promotion:
        item = pb.Item(ref="myapp:v1", kind="image", outcome=outcome, digest=DIGEST)
        return pb.Promotion(
            id="pr_01K3", outcome=outcome, source="dev", destination="prod", items=[item]
        )


@pytest.fixture
def service() -> Service:
    return Service()  # type: ignore[abstract]


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    """Return the address of a server that runs the service, with no checks."""
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        imgctl_pb2_grpc.add_ImgCtlServicer_to_server(service, server)  # type: ignore[no-untyped-call,unused-ignore]
        port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        server.start()
        yield f"127.0.0.1:{port}"
        service.over.set()
        server.stop(0).wait()


@pytest.fixture
def command(address: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a promotion by someone whose token is in the cache."""
    monkeypatch.setenv("DEX_URL", "https://dex.test")
    monkeypatch.setenv("IMGCTL_CLIENT_ID", "cli")
    monkeypatch.setenv("KUBECTL_SSH_USER", "alice")
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
    key = home / ".ssh" / "id_ed25519.pub"
    key.parent.mkdir(mode=0o700)
    key.write_text(f"{line} alice@example.com\n")
    settings = LoginSettings(
        dex_url="https://dex.test",
        client_id="cli",
        client_secret="",
        audience="https://127.0.0.1",
        username="alice",
        pubkey_file=key,
    )
    claims: dict[str, object] = {"exp": int(time.time()) + 3600, "aud": "https://127.0.0.1"}
    name = entry_name(settings, key=line)
    cache = TokenCache(default_directory())
    assert cache.store(name, Token(_jwt(claims), float(str(claims["exp"])), claims))
    return ["promote", "myapp:v1", "-d", "prod", "-s", address]


def _jwt(claims: dict[str, object]) -> str:
    from base64 import urlsafe_b64encode

    parts = (json.dumps(part).encode() for part in ({"alg": "RS256"}, claims, {}))
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def spied(*args: str) -> tuple[int, str, set[str]]:
    ran = subprocess.run(
        [sys.executable, "-c", SPY, *args], capture_output=True, text=True, timeout=60
    )
    return ran.returncode, ran.stdout, set(json.loads(ran.stderr.splitlines()[-1]))


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_help_and_version_load_click_and_nothing_of_weight(args: list[str]) -> None:
    code, out, modules = spied(*args)
    assert code == 0
    assert out
    assert not modules & (HEAVY | {"grpc", "json", "logging", "pathlib", "dataclasses"})
    ours = {name for name in modules if name.startswith("imgctl")}
    allowed = {"imgctl_cli", "imgctl_cli.main", "imgctl_core", "imgctl_core._version"}
    assert ours <= allowed


def test_a_commands_help_needs_no_grpc() -> None:
    code, _, modules = spied("promote", "--help")
    assert code == 0
    assert not modules & (HEAVY | {"grpc"})


def test_a_promotion_with_a_cached_token_loads_click_and_grpc(command: list[str]) -> None:
    code, out, modules = spied(*command)
    assert (code, out) == (0, f"unchanged myapp:v1 to prod  {DIGEST}  pr_01K3\n")
    assert not modules & HEAVY
    assert not {name for name in modules if name.startswith("imgctl_core.server")}
    assert "imgctl_core.client.dex" not in modules


def test_control_c_detaches_and_says_how_to_come_back(command: list[str], service: Service) -> None:
    service.hang.set()
    process = subprocess.Popen(
        [sys.executable, "-m", "imgctl_cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As the shell does: a Ctrl-C of the test run's own must not reach it.
        start_new_session=True,
    )
    assert service.watched.wait(30)
    assert process.stderr is not None
    assert process.stderr.readline() == "myapp:v1  copying\n"
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "imgctl watch pr_01K3" in err
    assert "Traceback" not in err
    assert service.over.wait(30)


@pytest.mark.parametrize("args", [["--help"], ["version"], ["config", "show"]])
def test_a_reader_that_goes_away_is_no_reason_to_complain(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-m", "imgctl_cli", *args],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(writer)
    assert ran.returncode == 1
    assert "BrokenPipe" not in ran.stderr
    assert "rror" not in ran.stderr


def test_what_the_terminal_cant_write_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    ran = subprocess.run(
        [sys.executable, "-m", "imgctl_cli", "config", "show", "-u", "漢"],
        capture_output=True,
        timeout=60,
    )
    assert ran.returncode == 0
    assert b"username\t\\u6f22\tflag --username\n" in ran.stdout
