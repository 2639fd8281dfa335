"""Each fault at each call, at two real S3 servers behind a faulty line.

However a promotion ends, the invariant holds: an entry point that is at the destination is
whole, and so is everything that it names. And the same promotion again, without the fault,
completes.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from typing import Any

import pytest

from imgctl_core.errors import (
    ArtifactNotFound,
    EndpointDenied,
    EndpointFailed,
    EndpointNotFound,
    EndpointUnreachable,
    ImgctlError,
)
from imgctl_core.testing.httpd import Fault, Response

PROBE, MIDDLE = "assets/part-00000000.js", "assets/part-00000002.js"
LARGE = "assets/app-5e6f7a8b.wasm"


def error(status: int, code: str, message: str = "it is not well", extra: str = "") -> Response:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>"
    return Response(status, {"Content-Type": "application/xml"}, text.encode())


@dataclass(frozen=True)
class Call:
    """A call that a promotion makes; `skip` like ones come before it."""

    method: str
    pattern: str
    skip: int = 0
    version: str = "v1"
    first: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """A refused HEAD is followed by the GET that says why."""
        return (self.method, "GET") if self.method == "HEAD" else (self.method,)

    @property
    def writes(self) -> bool:
        return self.method in ("PUT", "POST")

    @property
    def end(self) -> str:
        return "dev" if "-dev" in self.pattern else "prod"


LISTS = r"^/shop-{}/\?(?!.*max-keys)"
CALLS = {
    "first look at the source": Call("GET", r"^/shop-dev.*max-keys=", first=True),
    "first look at the destination": Call("GET", r"^/shop-prod.*max-keys=", first=True),
    "list of the source": Call("GET", LISTS.format("dev")),
    "list of the destination": Call("GET", LISTS.format("prod")),
    "probe copy": Call("PUT", f"^/shop-prod/v1/{PROBE}"),
    "copy of an asset": Call("PUT", f"^/shop-prod/v1/{MIDDLE}"),
    "list of what was staged": Call("GET", LISTS.format("prod"), skip=1),
    "HEAD of an entry point": Call("HEAD", r"^/shop-prod/v1/index\.html$"),
    "copy of an entry point": Call("PUT", r"^/shop-prod/v1/index\.html"),
    "list that verifies": Call("GET", LISTS.format("prod"), skip=2),
    "HEAD of a large file": Call("HEAD", f"^/shop-dev/v2/{LARGE}$", version="v2"),
    "tags of a large file": Call("GET", f"^/shop-dev/v2/{LARGE}.tagging", version="v2"),
    "new upload": Call("POST", f"^/shop-prod/v2/{LARGE}.uploads", version="v2"),
    "copy of a part": Call("PUT", f"^/shop-prod/v2/{LARGE}.*Number=2", version="v2"),
    "end of an upload": Call("POST", f"^/shop-prod/v2/{LARGE}.*Id=", version="v2"),
}  # fmt: skip

WHO = "arn:aws:sts::111122223333:assumed-role/imgctl/server"
ACTION, RESOURCE = "s3:PutObject", "arn:aws:s3:::shop-prod/v1/x"
DENIAL = (
    f"User: {WHO} is not authorized to perform: {ACTION} on resource: "
    f'"{RESOURCE}" because no identity-based policy allows the {ACTION} action'
)


@dataclass(frozen=True)
class Trouble:
    """A fault, how often it strikes (None: for ever), and how the promotion may end.

    Without `errors` it has to end well.
    """

    fault: Fault
    times: int | None = None
    errors: tuple[type[ImgctlError], ...] = ()
    says: str = ""


HTML = Response(200, {"Content-Type": "text/html"}, b"<!doctype html><p>Welcome")
TROUBLES = {
    # What passes. The client itself tries everything twice before we hear of it.
    "SlowDown": Trouble(Fault(answer=error(503, "SlowDown")), 7),
    "429": Trouble(Fault(answer=Response(429)), 3),
    "500": Trouble(Fault(answer=error(500, "InternalError")), 5),
    "InternalError in a 200": Trouble(Fault(answer=error(200, "InternalError")), 5),
    "SlowDown in a 200": Trouble(Fault(answer=error(200, "SlowDown")), 5),
    "truncated": Trouble(Fault(truncate=60), 3),
    "HTML in a 200": Trouble(Fault(answer=HTML), 3),
    "empty 200": Trouble(Fault(answer=Response(200)), 3),
    "reset": Trouble(Fault(drop=True), 5),
    "answer lost": Trouble(Fault(lose=True), 3),
    "stall": Trouble(Fault(hold=threading.Event()), 1),
    "409": Trouble(Fault(answer=error(409, "OperationAborted")), 3),
    # What does not.
    "denied": Trouble(Fault(answer=error(403, "AccessDenied", DENIAL)), None, (EndpointDenied,)),
    "no bucket": Trouble(Fault(), None, (ArtifactNotFound, EndpointNotFound)),
    "wrong clock": Trouble(
        Fault(answer=error(403, "RequestTimeTooSkewed")), None, (EndpointFailed,), "clock is wrong"
    ),
    "expired keys": Trouble(
        Fault(answer=error(400, "ExpiredToken")), None, (EndpointDenied,), "credentials"
    ),
    "HTML for ever": Trouble(Fault(answer=HTML), None, (EndpointFailed,)),
    "disk full": Trouble(
        Fault(answer=error(507, "InsufficientStorage", "no space left")), None, (EndpointFailed,)
    ),
    "500 for ever": Trouble(Fault(answer=error(500, "InternalError")), None, (EndpointFailed,)),
    "SlowDown for ever": Trouble(Fault(answer=error(503, "SlowDown")), None, (EndpointFailed,)),
    "reset for ever": Trouble(
        Fault(drop=True), None, (EndpointUnreachable, EndpointFailed), "can't be reached"
    ),
    "other region": Trouble(
        Fault(answer=error(301, "PermanentRedirect", "go to the other endpoint")),
        None,
        (EndpointFailed,),
        "region",
    ),
}


def applies(call: Call, trouble: str) -> bool:
    if trouble in ("409", "disk full"):
        return call.writes
    # A HEAD has no body to be cut or to say what is wrong. And a bucket that is missing is
    # then told by what follows.
    return call.method != "HEAD" or trouble not in (
        "InternalError in a 200", "SlowDown in a 200", "truncated", "no bucket",
    )  # fmt: skip


#: At moto it is what reaches the server, or comes of what it answered, that matters.
MOTO = ("SlowDown", "truncated", "reset", "answer lost", "stall", "409", "denied")
CASES = [
    pytest.param(where, call, trouble, id=f"{where}, {call}, {trouble}")
    for where in ("versitygw", "moto")
    for call in CALLS
    for trouble in TROUBLES
    if applies(CALLS[call], trouble) and (where == "versitygw" or trouble in MOTO)
]


def fitted(trouble: str, call: Call) -> Trouble:
    """Return a trouble as it is at one call."""
    kind = TROUBLES[trouble]
    if trouble == "no bucket":
        body = f"<BucketName>shop-{call.end}</BucketName>"
        fault = Fault(answer=error(404, "NoSuchBucket", extra=body))
        return replace(kind, fault=fault, says=f"bucket shop-{call.end}")
    if call.first and trouble == "stall":
        return replace(kind, times=None, errors=(EndpointUnreachable,), says="no answer within")
    if call.first and kind.times:
        return replace(kind, times=min(kind.times, 2))  # boto3 tries three times
    return kind


@pytest.mark.parametrize(("where", "name", "trouble"), CASES)
def test_every_fault_at_every_call(
    line: Any, name: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = CALLS[name]
    kind = fitted(trouble, call)
    if kind.says == "no answer within":
        monkeypatch.setattr("imgctl_backends.spa.promoter.OPEN_WITHIN", 1.5)
    struck = line.inject(kind.fault, call.methods, call.pattern, kind.times, call.skip)
    promoter = line.promoter(fresh=call.first)
    if not kind.errors:
        line.promote(call.version, promoter)
    else:
        told = line.refuses(call.version, promoter)
        assert isinstance(told, kind.errors), told
        assert re.search(kind.says, told.message)
        if trouble == "denied":
            assert told.fix == f"allow {ACTION} on {RESOURCE} to {WHO}"
        line.check(call.version)
        line.mend()
        line.promote(call.version, promoter)
    assert struck.hits
    line.check(call.version, whole=True)
    # An upload whose beginning was not answered has no id to end it by, and no parts.
    # Where the bucket is gone, nothing can be taken back.
    left = [line.client.list_parts(**upload).get("Parts") for upload in line.uploads()]
    assert not any(left) or trouble == "no bucket"
