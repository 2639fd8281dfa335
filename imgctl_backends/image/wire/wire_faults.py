"""From what urllib3 raises to a fault that says what happened in plain words."""

from __future__ import annotations

import ssl

from urllib3 import exceptions as raised

from imgctl_backends.image.wire.faults import Fault, TrustFault

_TRUST_FIX = (
    "set ca_file of this endpoint, or SSL_CERT_FILE of the server, to the certificate authority "
    "that signed the registry's certificate"
)


def wire_fault(where: str, error: Exception, stall: float) -> Fault:
    """Return the fault for an exception; `stall` is the timeout that held, in seconds."""
    if isinstance(error, raised.SSLError | ssl.SSLError):
        return _tls_fault(where, error)
    if isinstance(error, raised.NameResolutionError):
        return Fault(where, "the host name is unknown", lasting=True)
    # A NewConnectionError is a ConnectTimeoutError, too, in urllib3 2.
    if isinstance(error, raised.NewConnectionError):
        cause = error.__cause__
        named = cause.strerror if isinstance(cause, OSError) else None
        return Fault(where, (named or "no connection").lower(), lasting=True)
    if isinstance(error, raised.ConnectTimeoutError):
        return Fault(where, "nothing answers at that address", lasting=True)
    if isinstance(error, raised.TimeoutError | OSError) and "timed out" in str(error).lower():
        return Fault(where, f"the connection stood still for {stall:g} s")
    return Fault(where, "the connection was lost")


def _tls_fault(where: str, error: Exception) -> Fault:
    cause = error
    while not isinstance(cause, ssl.SSLError) and cause.args:
        inner = cause.args[0]
        if not isinstance(inner, Exception):
            break
        cause = inner
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TrustFault(
            where, f"its certificate is not trusted ({cause.verify_message})", fix=_TRUST_FIX
        )
    if getattr(cause, "reason", None) in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return TrustFault(
            where,
            "it does not speak TLS",
            lasting=True,
            fix="if the registry is really meant to be plain HTTP, write http:// in front of it",
        )
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or "doesn't match" in str(error):
        return TrustFault(where, "its certificate is not trusted", fix=_TRUST_FIX)
    return Fault(where, "the TLS connection was lost")
