"""The one table of errors on the wire, both ways: error class <-> google.rpc.Status.

A status carries one google.rpc.ErrorInfo: `reason` is the error's own, `domain` is
"imgctl", and `metadata` has `fix` and `id` where there are any. A limit on calls adds a
google.rpc.RetryInfo: how long to wait. The client reads this module too, and only when a
call failed; google.rpc is imported no earlier than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from imgctl_core import errors
from imgctl_core.errors import ImgctlError

if TYPE_CHECKING:
    from google.rpc.error_details_pb2 import ErrorInfo

DOMAIN = "imgctl"

#: Longest text sent, in bytes of UTF-8. A status travels in trailers, percent-encoded and
#: base64 side by side; past gRPC's metadata limit the client would get no status at all.
MAX_TEXT = 2048

_Code = grpc.StatusCode

CODES: dict[type[ImgctlError], grpc.StatusCode] = {
    errors.ImgctlError: _Code.UNKNOWN,
    errors.RequestError: _Code.INVALID_ARGUMENT,
    errors.InvalidReference: _Code.INVALID_ARGUMENT,
    errors.AmbiguousReference: _Code.INVALID_ARGUMENT,
    errors.UnknownKind: _Code.INVALID_ARGUMENT,
    errors.NotActivatable: _Code.INVALID_ARGUMENT,
    errors.MissingEnvironment: _Code.INVALID_ARGUMENT,
    errors.SameEndpoint: _Code.INVALID_ARGUMENT,
    errors.InvalidSetting: _Code.INVALID_ARGUMENT,
    errors.NotAuthenticated: _Code.UNAUTHENTICATED,
    errors.TokenRefused: _Code.UNAUTHENTICATED,
    errors.NoUsableKey: _Code.UNAUTHENTICATED,
    errors.AgentUnavailable: _Code.UNAUTHENTICATED,
    errors.LoginRefused: _Code.UNAUTHENTICATED,
    errors.NotAuthorized: _Code.PERMISSION_DENIED,
    errors.Conflict: _Code.ALREADY_EXISTS,
    errors.NotFound: _Code.NOT_FOUND,
    errors.EnvironmentNotFound: _Code.NOT_FOUND,
    errors.EndpointNotFound: _Code.NOT_FOUND,
    errors.ArtifactNotFound: _Code.NOT_FOUND,
    errors.PromotionNotFound: _Code.NOT_FOUND,
    errors.ManifestNotFound: _Code.NOT_FOUND,
    errors.Unreachable: _Code.UNAVAILABLE,
    errors.ServerUnreachable: _Code.UNAVAILABLE,
    errors.IssuerUnreachable: _Code.UNAVAILABLE,
    errors.StreamCut: _Code.UNAVAILABLE,
    errors.ServerBusy: _Code.RESOURCE_EXHAUSTED,
    errors.RateLimited: _Code.RESOURCE_EXHAUSTED,
    errors.PromotionError: _Code.FAILED_PRECONDITION,
    errors.EndpointUnreachable: _Code.UNAVAILABLE,
    errors.EndpointDenied: _Code.FAILED_PRECONDITION,
    errors.EndpointFailed: _Code.FAILED_PRECONDITION,
    errors.VerificationFailed: _Code.DATA_LOSS,
    errors.LintFailed: _Code.FAILED_PRECONDITION,
    errors.DeadlineExceeded: _Code.DEADLINE_EXCEEDED,
    errors.AuditUnavailable: _Code.UNAVAILABLE,
    errors.PluginUnavailable: _Code.FAILED_PRECONDITION,
    errors.InternalError: _Code.INTERNAL,
    errors.Cancelled: _Code.CANCELLED,
}

#: What a code means that came without an ErrorInfo of ours, or with a reason that this
#: version doesn't know: the class nearest to it.
_NEAREST: dict[grpc.StatusCode, type[ImgctlError]] = {
    _Code.INVALID_ARGUMENT: errors.RequestError,
    _Code.OUT_OF_RANGE: errors.RequestError,
    _Code.UNAUTHENTICATED: errors.TokenRefused,
    _Code.PERMISSION_DENIED: errors.NotAuthorized,
    _Code.ALREADY_EXISTS: errors.Conflict,
    _Code.NOT_FOUND: errors.NotFound,
    _Code.UNAVAILABLE: errors.ServerUnreachable,
    _Code.UNIMPLEMENTED: errors.ServerUnreachable,
    _Code.RESOURCE_EXHAUSTED: errors.ServerBusy,
    _Code.FAILED_PRECONDITION: errors.PromotionError,
    _Code.ABORTED: errors.PromotionError,
    _Code.DATA_LOSS: errors.VerificationFailed,
    _Code.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    _Code.CANCELLED: errors.Cancelled,
    _Code.INTERNAL: errors.InternalError,
    _Code.UNKNOWN: errors.InternalError,
}


def code_for(cls: type[ImgctlError]) -> grpc.StatusCode:
    """Return the class's code; a class outside the tree has its parent's."""
    return next(CODES[base] for base in cls.__mro__ if base in CODES)


def nearest(code: grpc.StatusCode) -> type[ImgctlError]:
    """Return the class that stands for a code when nothing else is known."""
    return _NEAREST.get(code, ImgctlError)


def to_status(error: ImgctlError) -> grpc.Status:
    """Return what `ServicerContext.abort_with_status` takes."""
    from google.rpc import error_details_pb2, status_pb2
    from grpc_status import rpc_status

    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, text in (("fix", error.fix), ("id", error.id)):
        if text:
            info.metadata[key] = _shortened(text)
    status = status_pb2.Status(
        code=code_for(type(error)).value[0], message=_shortened(error.message)
    )
    status.details.add().Pack(info)
    if isinstance(error, errors.RateLimited):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.wait * 1e9))
        status.details.add().Pack(retry)
    return rpc_status.to_status(status)


def from_call(call: grpc.Call) -> ImgctlError | None:
    """Return the typed error of a failed call, None when the server sent none of ours."""
    info, wait = _details(call)
    if info is None:
        return None
    cls = errors.error_for(info.reason) or nearest(call.code())
    message = call.details() or "the server gave no reason"
    fix, id = info.metadata.get("fix", ""), info.metadata.get("id", "")
    if cls is errors.RateLimited:
        return errors.RateLimited(message, fix=fix, id=id, wait=wait)
    return cls(message, fix=fix, id=id)


def _details(call: grpc.Call) -> tuple[ErrorInfo | None, float]:
    """Return what came with a status: our own word of it, and how long to wait."""
    from google.protobuf.message import DecodeError
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    ours, wait = None, 0.0
    try:
        status = rpc_status.from_call(call)
        for detail in status.details if status is not None else ():
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                ours = info
            elif detail.Unpack(retry):
                wait = retry.retry_delay.ToNanoseconds() / 1e9
    except (ValueError, DecodeError):
        # Something between us and the server wrote a status of its own.
        return None, 0.0
    return ours, wait


def _shortened(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= MAX_TEXT:
        return encoded.decode()
    return encoded[: MAX_TEXT - 3].decode("utf-8", "ignore") + "…"
