"""Builds that pass through this machine, from versitygw to moto, each behind a faulty line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from imgctl_backends.spa.copying import stream
from imgctl_core.errors import Conflict, EndpointDenied, EndpointFailed, ImgctlError
from imgctl_core.testing.httpd import Fault, Request, Response
from imgctl_core.testing.sites import SiteFile

MIDDLE, LARGE = "assets/part-00000002.js", "assets/app-5e6f7a8b.wasm"
#: End, method, what is in the target, and the version that has it.
CALLS = {
    "read": ("dev", "GET", rf"v1/{MIDDLE}$", "v1"),
    "tags": ("dev", "GET", rf"v1/{MIDDLE}\?tagging", "v1"),
    "write": ("prod", "PUT", rf"v1/{MIDDLE}$", "v1"),
    "write of an entry point": ("prod", "PUT", r"v1/index\.html$", "v1"),
    "new upload": ("prod", "POST", r"\?uploads", "v2"),
    "part": ("prod", "PUT", r"partNumber=2|uploadId=.*Number=2", "v2"),
    "end of an upload": ("prod", "POST", r"\?uploadId", "v2"),
}


def error(status: int, code: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>it is not well</Message></Error>"
    return Response(status, {"Content-Type": "application/xml"}, body.encode())


PASSING = {
    "SlowDown": Fault(answer=error(503, "SlowDown")),
    "500": Fault(answer=error(500, "InternalError")),
    "reset": Fault(drop=True),
    "answer lost": Fault(lose=True),
}
LASTING: dict[str, tuple[Fault, type[ImgctlError]]] = {
    "denied": (Fault(answer=error(403, "AccessDenied")), EndpointDenied),
    "disk full": (Fault(answer=error(507, "InsufficientStorage")), EndpointFailed),
    "expired keys": (Fault(answer=error(400, "ExpiredToken")), EndpointDenied),
    "wrong clock": (Fault(answer=error(403, "RequestTimeTooSkewed")), EndpointFailed),
}


@dataclass
class Bridge:
    """The two lines, and a promoter between them."""

    dev: Any
    prod: Any
    promoter: Any


@pytest.fixture
def where() -> str:
    return "moto"


@pytest.fixture
def bridge(line: Any, versitygw_line: Any, monkeypatch: pytest.MonkeyPatch) -> Bridge:
    monkeypatch.setattr(stream, "PART_SIZE", 5 * 1024**2)
    versitygw_line.clear()
    line.guards.busy = versitygw_line.guards.busy = True
    promoter = line.promoter(fresh=True, dev={"endpoint_url": versitygw_line.proxy.url})
    return Bridge(versitygw_line, line, promoter)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(bridge: Bridge, call: str, fault: str) -> None:
    end, method, pattern, version = CALLS[call]
    line = getattr(bridge, end)
    struck = line.inject(PASSING[fault], (method,), pattern, times=2)
    bridge.prod.promote(version, bridge.promoter)
    assert struck.hits == 2
    bridge.prod.check(version, whole=True)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", LASTING)
def test_what_does_not_pass_is_told(bridge: Bridge, call: str, fault: str) -> None:
    end, method, pattern, version = CALLS[call]
    line = getattr(bridge, end)
    wrong, kind = LASTING[fault]
    struck = line.inject(wrong, (method,), pattern)
    told = bridge.prod.refuses(version, bridge.promoter)
    assert struck.hits
    assert isinstance(told, kind), told
    assert f"bucket shop-{end}" in told.message
    bridge.prod.check(version)
    assert bridge.prod.uploads() == []
    line.mend()
    bridge.prod.promote(version, bridge.promoter)
    bridge.prod.check(version, whole=True)


@pytest.mark.parametrize("fault", [Fault(corrupt=True), Fault(cut_after=3), Fault(truncate=3)])
@pytest.mark.parametrize("times", [1, None])
def test_bytes_that_are_damaged_on_the_way_never_arrive(
    bridge: Bridge, fault: Fault, times: int | None
) -> None:
    _, method, pattern, version = CALLS["read"]
    struck = bridge.dev.inject(fault, (method,), pattern, times=times)
    if times is None:
        told = bridge.prod.refuses(version, bridge.promoter)
        assert "shop-dev" in told.message
        bridge.prod.check(version)
        assert MIDDLE not in bridge.prod.held(version)
        bridge.dev.mend()
    bridge.prod.promote(version, bridge.promoter)
    assert struck.hits
    bridge.prod.check(version, whole=True)


@pytest.mark.parametrize("call", ["write", "write of an entry point", "end of an upload"])
@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("lost", [True, False])
def test_what_is_there_meanwhile(bridge: Bridge, call: str, replace: bool, lost: bool) -> None:
    """Our own write whose answer was lost is no conflict; somebody else's is."""
    _, method, pattern, version = CALLS[call]
    key = {"write": MIDDLE, "write of an entry point": "index.html"}.get(call, LARGE)
    theirs = SiteFile(b"theirs", "text/html", "no-cache")
    if replace:
        bridge.prod.put("shop-prod", f"{version}/{key}", SiteFile(b"old", "text/plain"))
    done: list[str] = []

    def overtake(request: Request) -> Fault | None:
        if request.method != method or not re.search(pattern, request.target) or done:
            return None
        done.append(request.target)
        if lost:
            return Fault(lose=True)
        bridge.prod.put("shop-prod", f"{version}/{key}", theirs)
        return None

    bridge.prod.proxy.faults.insert(0, overtake)
    if not lost:
        told = bridge.prod.refuses(version, bridge.promoter, replace=replace)
        assert isinstance(told, Conflict), told
        assert f"'{key}'" in told.message
        assert bridge.prod.held(version)[key] == theirs
        assert bridge.prod.uploads() == []
        bridge.prod.client.delete_object(Bucket="shop-prod", Key=f"{version}/{key}")
    bridge.prod.promote(version, bridge.promoter, replace=replace)
    bridge.prod.check(version, whole=True)


def test_a_server_that_knows_no_conditional_writes(bridge: Bridge) -> None:
    asked: list[str] = []

    def unsupported(request: Request) -> Fault | None:
        if request.method == "GET" or "if-none-match" not in request.headers:
            return None
        asked.append(request.target)
        return Fault(answer=error(501, "NotImplemented"))

    bridge.prod.proxy.faults.insert(0, unsupported)
    bridge.prod.promote("v2", bridge.promoter)
    assert asked
    bridge.prod.check("v2", whole=True)
