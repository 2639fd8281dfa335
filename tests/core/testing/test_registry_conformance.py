"""The OCI distribution conformance suite against the registry, in several settings."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.testing.registry import Registry
from imgctl_core.testing.tls import TlsFiles

_LOGIN = {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("version", "options"),
    [
        ("1.0", {}),
        ("1.1", {}),
        ("dev", {}),
        ("dev", {"sparse": True, "auth": "bearer", "absolute_locations": True, **_LOGIN}),
        ("dev", {"sparse": True, "auth": "basic", "tls": True, "folder": True, **_LOGIN}),
    ],
    ids=["1.0", "1.1", "dev", "bearer", "basic over TLS, in a folder"],
)
def test_conformance(
    version: str,
    options: Mapping[str, Any],
    peer: Callable[[str], Path],
    tls_files: TlsFiles,
    tmp_path: Path,
) -> None:
    program = peer("conformance")
    arguments = dict(options)
    if arguments.pop("tls", False):
        arguments |= {"tls_cert": tls_files.cert, "tls_key": tls_files.key}
    if arguments.pop("folder", False):
        arguments["folder"] = tmp_path / "blobs"
    with Registry(**arguments) as registry:
        done = subprocess.run(
            [str(program)],
            env={
                "OCI_REGISTRY": registry.host,
                "OCI_TLS": "enabled" if "tls_cert" in arguments else "disabled",
                "OCI_VERSION": version,
                "OCI_USERNAME": registry.username,
                "OCI_PASSWORD": registry.password,
                "OCI_DATA_SPARSE": str(options.get("sparse", False)).lower(),
                "OCI_RESULTS_DIR": str(tmp_path),
                "SSL_CERT_FILE": str(tls_files.ca),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    suite = next(ET.parse(tmp_path / "junit.xml").getroot().iter("testsuite"))
    figures = [int(suite.get(name, "0")) for name in ("failures", "errors", "skipped")]
    assert int(suite.get("tests", "0")) > 800
    assert figures == [0, 0, 0]
