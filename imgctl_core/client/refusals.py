"""A failed call, turned into the typed error that says what to do. Imported only then."""

from __future__ import annotations

import grpc

from imgctl_core.client.target import Endpoint, Target
from imgctl_core.errors import (
    ImgctlError,
    InternalError,
    RequestError,
    ServerUnreachable,
    StreamCut,
)
from imgctl_core.server import status

_Code = grpc.StatusCode

#: What gRPC's text holds when no connection came about, and what that means to people.
#: Seen with grpcio 1.85; a text that is none of these is shown as it is.
_CONNECT = (
    ("Connection refused", "nothing listens there", "check --server, and that the server runs"),
    (
        "No such file or directory",
        "there is no such socket",
        "check --server, and that the server runs",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "it does not speak TLS",
        "give it a certificate, or drop https:// and --ca-file when it is on this machine",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not one that we trust",
        "name the authority that issued it: --ca-file or IMGCTL_CA_FILE",
    ),
    (
        "Hostname Verification Check failed",
        "its certificate is for another name",
        "use the name that stands in the certificate",
    ),
    (
        "http1.x server",
        "an HTTP/1 server answered, and imgctl speaks gRPC",
        "check the port; a proxy in between must pass HTTP/2",
    ),
    (
        "Expected SETTINGS frame",
        "what answered does not speak gRPC",
        "check the address and the port",
    ),
    ("name not found", "there is no such host", "check --server"),
    ("errors resolving", "its name can't be looked up", "check --server and the network"),
    ("DNS resolution failed", "its name can't be looked up", "check --server and the network"),
    ("security handshaker", "the CA file can't be used", "check --ca-file or SSL_CERT_FILE"),
    ("timed out", "it does not answer", "check --server, the network and firewalls"),
    ("Handshake read failed", "it does not answer as TLS does", "check --server and its port"),
    ("unreachable", "the network has no way there", "check --server and the network"),
)
_CLOSED = "failed to connect to all addresses"


def error_of(
    call: grpc.Call, target: Target, endpoint: Endpoint, *, lost: StreamCut | None = None
) -> ImgctlError:
    """Return what a failed call means.

    Args:
        call: the failed call.
        target: the server that was called.
        endpoint: the same, understood.
        lost: what a connection that broke means, for a call whose end is awaited still.
    """
    error = status.from_call(call)
    if error is not None:
        return error
    code, details = call.code(), call.details() or ""
    if code is _Code.UNAVAILABLE and (_CLOSED in details or "resolv" in details):
        return _unreachable(details, target, endpoint)
    if lost is not None and code in (
        _Code.UNAVAILABLE,
        _Code.INTERNAL,
        _Code.UNKNOWN,
        _Code.CANCELLED,
        _Code.DEADLINE_EXCEEDED,
    ):
        return lost
    return _plain(code, details, target)


def cut(promotion_id: str) -> StreamCut:
    """Return the error for a promotion whose result did not arrive."""
    again = f"`imgctl watch {promotion_id}`" if promotion_id else "the same command again"
    return StreamCut(
        "the connection to the server was lost before the promotion's result arrived",
        fix=f"it may be running still: {again} tells",
        id=promotion_id,
    )


def cut_rows(what: str) -> StreamCut:
    """Return the error for rows that did not all arrive."""
    return StreamCut(
        f"the connection to the server was lost before {what} was whole",
        fix="the same command again asks for all of it",
    )


def _plain(code: grpc.StatusCode, details: str, target: Target) -> ImgctlError:
    """Return the error for a status that imgctl's own code didn't write."""
    shown = target.address
    if code is _Code.DEADLINE_EXCEEDED:
        return ServerUnreachable(
            f"the server {shown} did not answer in time", fix="try again in a moment"
        )
    if code is _Code.UNIMPLEMENTED:
        return ServerUnreachable(
            f"{shown} does not know this call: it is no imgctl server, or an older one",
            fix="check --server, or update the server",
        )
    if code is _Code.RESOURCE_EXHAUSTED and "larger than max" in details:
        return RequestError(
            f"the message is too large: {details}", fix="ask for fewer references at a time"
        )
    cls = status.nearest(code)
    if cls is InternalError:
        return InternalError(
            f"the server {shown} failed: {details or code.name}",
            fix="tell whoever runs it; its log may have more",
        )
    return cls(f"the server {shown} answered {code.name}: {details or 'no reason given'}")


def _unreachable(details: str, target: Target, endpoint: Endpoint) -> ServerUnreachable:
    lowered = details.lower()
    for sign, why, fix in _CONNECT:
        if sign.lower() in lowered:
            return ServerUnreachable(
                f"the server {target.address} can't be reached: {why}", fix=fix
            )
    if "Socket closed" in details and not endpoint.tls:
        return ServerUnreachable(
            f"the server {target.address} closed the connection: it may speak TLS only",
            fix=f"try --server https://{target.address.removeprefix('http://')}",
        )
    if "Socket closed" in details:
        given = "another than the one given" if target.cert_file else "--client-cert, --client-key"
        return ServerUnreachable(
            f"the server {target.address} closed the connection: it may ask clients for a "
            "certificate",
            fix=f"ask whoever runs it for one, and give it: {given}",
        )
    return ServerUnreachable(
        f"the server {target.address} can't be reached: {details.removeprefix(_CLOSED)[:300]}",
        fix="check --server, and that the server runs",
    )
