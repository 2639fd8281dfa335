"""The kit's front door: every name is there, and costs only what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import imgctl_core.testing


def test_every_name_resolves() -> None:
    names = imgctl_core.testing.__all__
    assert names == sorted(names)
    for name in names:
        assert getattr(imgctl_core.testing, name) is not None
    assert set(names) <= set(dir(imgctl_core.testing))
    with pytest.raises(AttributeError):
        _ = imgctl_core.testing.NoSuchName


@pytest.mark.parametrize(
    "name", ["Registry", "Issuer", "FaultProxy", "HttpFaultProxy", "EcrRegistry", "sample_image"]
)
def test_servers_need_neither_pytest_nor_extras(name: str) -> None:
    code = (
        f"import sys\nfrom imgctl_core.testing import {name}\n"
        "print(*{'pytest', 'moto', 'boto3', 'paramiko', 'grpc'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
