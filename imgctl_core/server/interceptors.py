"""What stands around every method: errors become statuses, callers become actors.

Both work inside the handler that they wrap, in a thread of the pool: `intercept_service`
itself runs in the one thread that serves all connections, and a wait there delays
everybody. Streams are wrapped by generators: an error in a generator comes when it is
iterated, after the method has returned, and gRPC would send its text to the client.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NoReturn

import grpc

from imgctl_core.auth.refusal import RefusedToken, WrongConnector, token_refused
from imgctl_core.errors import (
    ImgctlError,
    InternalError,
    IssuerUnreachable,
    NotAuthenticated,
    NotAuthorized,
    RateLimited,
)
from imgctl_core.hosts import is_loopback
from imgctl_core.ids import new_incident_id
from imgctl_core.models import Actor
from imgctl_core.peer import Peer
from imgctl_core.server import status
from imgctl_core.server.caller import Caller, peer_host, peer_of, serving
from imgctl_core.server.handlers import Continuation, Handler, behavior_of, rebuilt
from imgctl_core.server.ports import Admission, Verifier
from imgctl_core.server.rates import Rates
from imgctl_core.server.records import Records
from imgctl_core.wirelimits import MAX_TOKEN

_LOG = logging.getLogger("imgctl.server")

#: The one method that anybody may call: a load balancer has no token.
OPEN_METHOD = "/grpc.health.v1.Health/Check"


class ErrorInterceptor(grpc.ServerInterceptor):
    """Outermost: no text of an error that isn't ours ever leaves the server."""

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        behavior = behavior_of(handler)

        def unary(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return behavior(request, context)
            except Exception as error:  # noqa: BLE001 - every one of them is answered
                _answer(error, context, method)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                yield from behavior(request, context)
            except Exception as error:  # noqa: BLE001 - every one of them is answered
                _answer(error, context, method)

        return rebuilt(handler, stream if handler.response_streaming else unary)


class AuthInterceptor(grpc.ServerInterceptor):
    """Lets nobody reach a method without a good token and a group that counts."""

    def __init__(
        self,
        verifier: Verifier,
        policy: Admission,
        records: Records,
        *,
        rates: Rates | None = None,
        insecure_plaintext: bool = False,
    ) -> None:
        self._rates = rates or Rates()
        self._verifier = verifier
        self._policy = policy
        self._records = records
        self._plaintext = insecure_plaintext

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None or method == OPEN_METHOD:
            return handler
        behavior = behavior_of(handler)

        def unary(request: Any, context: grpc.ServicerContext) -> Any:
            with serving(self.authenticate(method, context)):
                return behavior(request, context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with serving(self.authenticate(method, context)):
                messages = behavior(request, context)
            yield from messages

        return rebuilt(handler, stream if handler.response_streaming else unary)

    def authenticate(self, method: str, context: grpc.ServicerContext) -> Caller:
        """Return who is calling.

        Raises:
            NotAuthenticated: we can't know; the text never says why.
            NotAuthorized: we know, and they may not use this server.
            IssuerUnreachable: tokens can't be checked now.
            RateLimited: this peer, or this actor, calls too often.
        """
        peer = peer_of(context)
        try:
            self._rates.peer(peer_host(peer.address))
        except RateLimited:
            self._records.limited(method, peer, None)
            raise
        try:
            self._check_channel(peer)
            token = _bearer(context)
        except _Refused as refused:
            self._records.authn_denied(method, peer, refused.cause)
            raise refused.error from None
        actor: Actor | None = None
        try:
            actor = self._verifier.verify(token)
            self._rates.actor(actor.issuer, actor.subject)
            return Caller(self._policy.admit(actor), peer)
        except NotAuthenticated as error:
            code = error.code if isinstance(error, RefusedToken) else ""
            self._records.authn_denied(method, peer, code or "token refused")
            raise token_refused() from None
        except NotAuthorized as error:
            if isinstance(error, WrongConnector):
                actor = error.actor
            self._records.authz_denied(method, peer, actor, error)
            raise
        except RateLimited:
            self._records.limited(method, peer, actor)
            raise
        except IssuerUnreachable:
            _LOG.warning("%s: the issuer's keys are not known, so no token can be checked", method)
            raise

    def _check_channel(self, peer: Peer) -> None:
        """Refuse what came in clear over a network, even if the port was opened for it."""
        if self._plaintext or peer.protected or is_loopback(peer_host(peer.address)):
            return
        _LOG.warning("a call from %s came in clear and was refused", peer.address)
        raise _Refused(
            "in clear",
            NotAuthenticated(
                "the server takes tokens over TLS only",
                fix="use https://; this token was sent in clear: log in again for another",
            ),
        )


class _Refused(Exception):
    def __init__(self, cause: str, error: NotAuthenticated) -> None:
        super().__init__(cause)
        self.cause = cause
        self.error = error


def _bearer(context: grpc.ServicerContext) -> str:
    """Return the call's one token (RFC 6750 section 2.1; schemes are case-insensitive)."""
    values = [value for key, value in context.invocation_metadata() if key == "authorization"]
    if len(values) != 1:
        raise _Refused("several tokens" if values else "no token", token_refused())
    scheme, space, token = str(values[0]).partition(" ")
    if scheme.lower() != "bearer" or not space:
        raise _Refused("not a bearer token", token_refused())
    if len(token) > MAX_TOKEN:
        raise _Refused("too long", token_refused())
    if not token or not all("!" <= char <= "~" for char in token):
        raise _Refused("malformed", token_refused())
    return token


def _answer(error: Exception, context: grpc.ServicerContext, method: str) -> NoReturn:
    if type(error) is Exception and not error.args and _has_code(context):
        # What `abort` raises: the status is set already.
        raise error
    if not isinstance(error, ImgctlError):
        incident = new_incident_id()
        _LOG.error("incident %s in %s", incident, method, exc_info=error)
        error = InternalError(
            f"internal error ({incident})",
            fix="give that id to whoever runs the server: its log has the details",
            id=incident,
        )
    context.abort_with_status(status.to_status(error))


def _has_code(context: grpc.ServicerContext) -> bool:
    # Public since grpcio 1.45 (grpc/__init__.py, ServicerContext.code), absent in the stubs.
    return getattr(context, "code", lambda: None)() is not None
