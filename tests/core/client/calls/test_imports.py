"""What a call must not pay for: heavy modules cost more than the call itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "pydantic",
    "pydantic_settings",
    "pluggy",
    "boto3",
    "importlib.metadata",
    "paramiko",
    "pathlib",
    "sshpubkeys",
    "cryptography",
    "jose",
    "rich",
    "urllib3",
    "grpc_status",
    "google.rpc",
    "imgctl_core.client.login",
    "imgctl_core.client.refusals",
    "imgctl_core.server",
)


def _loaded(code: str) -> set[str]:
    """Run code in a Python of its own and return the heavy modules that it loaded."""
    report = f"import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import imgctl_core.client.api",
        "from imgctl_core.client import Client, Target, default_audience",
        "import imgctl_core.client as c; c.Client(c.Target('localhost:1'), 't').close()",
        "import imgctl_core.client as c; c.Client(c.Target('example.com:1'), 't').close()",
    ],
)
def test_calling_loads_nothing_heavy(code: str) -> None:
    assert _loaded(code) == set()


def test_the_check_sees_what_is_loaded() -> None:
    assert "pluggy" in _loaded("import pluggy")


def test_an_error_is_still_typed() -> None:
    code = (
        "from imgctl_core.client import Client, Target\n"
        "from imgctl_core.errors import ServerUnreachable\n"
        "try: Client(Target('localhost:1'), 't').auth_check()\n"
        "except ServerUnreachable: pass"
    )
    assert not _loaded(code) & {"pydantic", "pluggy", "cryptography", "importlib.metadata"}
