"""THE table of errors on the wire, both ways: error class <-> google.rpc.Status.

A status carries one google.rpc.ErrorInfo: `reason` is the error's own, `domain` is
"imgctl", and `metadata` has `fix` and `id` where there are any. The client reads this
module too, and only when a call failed; google.rpc is imported no earlier than that.
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
    from google.protobuf import any_pb2
    from google.rpc import error_details_pb2, status_pb2
    from grpc_status import rpc_status

    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, text in (("fix", error.fix), ("id", error.id)):
        if text:
            info.metadata[key] = _shortened(text)
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(
        code=code_for(type(error)).value[0], message=_shortened(error.message), details=[detail]
    )
    return rpc_status.to_status(status)


def from_call(call: grpc.Call) -> ImgctlError | None:
    """Return the typed error of a failed call, None when the server sent none of ours."""
    info = _error_info(call)
    if info is None:
        return None
    cls = errors.error_for(info.reason) or nearest(call.code())
    return cls(
        call.details() or "the server gave no reason",
        fix=info.metadata.get("fix", ""),
        id=info.metadata.get("id", ""),
    )


def _error_info(call: grpc.Call) -> ErrorInfo | None:
    from google.protobuf.message import DecodeError
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    try:
        status = rpc_status.from_call(call)
        if status is None:
            return None
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                return info
    except (ValueError, DecodeError):
        # Something between us and the server wrote a status of its own.
        return None
    return None


def _shortened(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= MAX_TEXT:
        return encoded.decode()
    return encoded[: MAX_TEXT - 3].decode("utf-8", "ignore") + "…"
