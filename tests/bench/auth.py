"""Part `auth`: what it costs to know who is calling, against a server that only echoes.

Both servers are processes of their own, with as many threads and the same certificate, and
are called in turns, one call after the other. The imgctl server checks the token's
signature, its claims and its groups at every call, and writes a record of it.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from imgctl_core.client.api import Client
from imgctl_core.client.target import Target
from imgctl_core.server.limits import Capacity
from imgctl_core.testing.issuer import Issuer, User
from imgctl_core.testing.peers import ServerProcess
from imgctl_core.testing.tls import TlsFiles, make_tls_files
from tests.bench import echo
from tests.bench.meters import ProcessMeter
from tests.bench.programs import IMGCTL
from tests.bench.results import Check, Row, Sample, WorkResult

RUNS: Final = 7
CALLS: Final = 2000
WARM_UP: Final = 300
LIMIT: Final = 5.0

WORKS: Final = ("auth-check",)

_AUDIENCE: Final = "https://127.0.0.1"
_PROMOTIONS: Final = 8


@dataclass(frozen=True)
class Called:
    """A server, and how to call it once."""

    process: ServerProcess
    call: Callable[[], object]


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Called, Called]]:
    """Start an imgctl server and one that only echoes."""
    tls = make_tls_files(folder / "tls")
    with ExitStack() as stack:
        issuer = stack.enter_context(Issuer({"alice": User(groups=("eng",))}))
        yield _ours(folder, tls, issuer, stack), _echo(folder, tls, stack)


def measure(folder: Path, runs: int, scale: float, say: Callable[[str], None]) -> WorkResult:
    """Call both in turns, and compare the times that 99 of 100 calls stay below."""
    load, count = os.getloadavg()[0], max(100, int(CALLS * scale))
    times: tuple[list[list[float]], list[list[float]]] = ([], [])
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    with servers(folder) as both:
        _round(both, WARM_UP)
        meters = [ProcessMeter(called.process.pid) for called in both]
        for _ in range(runs):
            before = [meter.cpu_seconds for meter in meters]
            taken = _round(both, count)
            for each, meter in enumerate(meters):
                times[each].append(taken[each])
                cpu = meter.cpu_seconds - before[each]
                made = Sample(sum(taken[each]), cpu, meter.resident_bytes, 0, 0, 0, 0)
                samples[each].append(made)
    ours, bare = (statistics.median(_p99(one) for one in kept) for kept in times)
    title = f"imgctl auth-check over TLS, {count} calls one after the other"
    check = Check(
        "99th percentile against a bare echo's",
        f"{ours * 1000:.2f} ms",
        f"echo {bare * 1000:.2f} ms",
        ours / bare,
        LIMIT,
    )
    say(f"  {check.ours} against {check.against}")
    medians = [statistics.median(statistics.median(one) for one in kept) for kept in times]
    remark = (
        f"Half of the calls take {medians[0] * 1000:.2f} ms, of the echo's"
        f" {medians[1] * 1000:.2f} ms. CPU and memory are the servers'."
    )
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    rows = (
        Row("imgctl server", "ours", tuple(samples[0])),
        Row("a gRPC server that echoes", "default", tuple(samples[1])),
    )
    return WorkResult(WORKS[0], title, rows, (check,), when, load, (remark,))


def _round(both: tuple[Called, Called], count: int) -> tuple[list[float], list[float]]:
    """Call one, then the other, and so on: whatever else the machine does meets both."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(count):
        for called, kept in zip(both, taken, strict=True):
            begun = time.perf_counter()
            called.call()
            kept.append(time.perf_counter() - begun)
    return taken


def _p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


def _ours(folder: Path, tls: TlsFiles, issuer: Issuer, stack: ExitStack) -> Called:
    process = ServerProcess(
        [IMGCTL, "server"],
        folder / "server.log",
        {
            "OIDC_ISSUER_URL": issuer.url,
            "OIDC_AUDIENCE": _AUDIENCE,
            "OIDC_ALLOWED_GROUPS": "eng",
            "IMGCTL_BIND_ADDRESS": "127.0.0.1:0",
            "IMGCTL_TLS_CERT": str(tls.cert),
            "IMGCTL_TLS_KEY": str(tls.key),
            "IMGCTL_AUDIT_LOG": str(folder / "audit.jsonl"),
            "IMGCTL_MAX_PROMOTIONS": str(_PROMOTIONS),
            "IMGCTL_LIMITS_PEER_RATE": "0",
            "IMGCTL_LIMITS_ACTOR_RATE": "0",
            "IMGCTL_REGISTRY_DEV": "http://127.0.0.1:1",
            "IMGCTL_REGISTRY_PROD": "http://127.0.0.1:2",
        },
    )
    stack.callback(process.stop)
    said = _wait_for(process, r"serving on (\S+)")
    token = issuer.token("alice", audience=_AUDIENCE)
    client = stack.enter_context(Client(Target(f"https://{said}", tls.ca), token))
    return Called(process, client.auth_check)


def _echo(folder: Path, tls: TlsFiles, stack: ExitStack) -> Called:
    threads = Capacity.for_promotions(_PROMOTIONS).threads
    process = ServerProcess(
        [sys.executable, str(Path(echo.__file__)), str(tls.cert), str(tls.key), str(threads)],
        folder / "echo.log",
        {},
    )
    stack.callback(process.stop)
    port = _wait_for(process, r"^(\d+)$")
    credentials = grpc.ssl_channel_credentials(tls.ca.read_bytes())
    opened: Any = grpc.secure_channel(
        f"127.0.0.1:{port}", credentials, options=[("grpc.enable_http_proxy", 0)]
    )
    channel = stack.enter_context(opened)
    method = channel.unary_unary(echo.METHOD)
    return Called(process, lambda: method(b"hello", timeout=10))


def _wait_for(process: ServerProcess, pattern: str) -> str:
    def found() -> re.Match[str] | None:
        said = process.log.read_text("utf-8", "replace")
        return re.search(pattern, said, re.MULTILINE)

    process.wait_until(lambda: found() is not None)
    match = found()
    assert match is not None
    return match[1]
