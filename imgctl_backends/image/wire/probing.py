"""Does a peer speak TLS? Asked of loopback hosts whose scheme nobody has said."""

from __future__ import annotations

import socket
import ssl

from imgctl_backends.image.wire.faults import Fault
from imgctl_backends.image.wire.flight import Flight, Grip

#: The two record types with which a TLS server can answer (RFC 8446, section 5.1).
_ALERT, _HANDSHAKE = 0x15, 0x16


def speaks_tls(flight: Flight, host: str, port: int, seconds: float) -> bool:
    """Send a ClientHello, and look at the first byte that comes back.

    Raises:
        Fault: nothing came back, so we know nothing.
    """
    where = f"{host}:{port}"
    try:
        sock = socket.create_connection((host, port), timeout=seconds)
    except OSError as error:
        raise Fault(where, _reason(error), lasting=True) from error
    grip = Grip(flight, seconds)
    try:
        grip.hold(sock)
        sock.sendall(_client_hello(host))
        first = sock.recv(1)
    except OSError as error:
        raise Fault(where, _reason(error), fix=_FIX) from error
    finally:
        grip.release()
        sock.close()
    if not first:
        raise Fault(where, "the connection was closed in the TLS handshake", fix=_FIX)
    return first[0] in (_ALERT, _HANDSHAKE)


_FIX = "write http:// or https:// in front of the registry, so that it need not be found out"


def _client_hello(host: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The second name is no protocol. A plain HTTP server that reads by lines would wait
    # for the end of one; with this it has it, and answers at once.
    context.set_alpn_protocols(["http/1.1", "\r\n\r\n"])
    outgoing = ssl.MemoryBIO()
    handshake = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    try:
        handshake.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a TLS handshake can't end before the peer has spoken")


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer to a TLS handshake"
    return error.strerror.lower() if error.strerror else "the connection was lost"
