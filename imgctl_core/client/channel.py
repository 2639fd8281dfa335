"""The connection: TLS or this very machine, and nothing in between."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import grpc

from imgctl_core._version import __version__
from imgctl_core.client.target import Endpoint, Target
from imgctl_core.errors import InvalidSetting
from imgctl_core.wirelimits import MAX_METADATA, MAX_REQUEST, MAX_RESPONSE

if TYPE_CHECKING:
    from pathlib import Path

#: Where systems keep the certificates they trust, in one file. gRPC brings a list of its
#: own, in which a company's authority, installed on the machine, is missing.
_SYSTEM_ROOTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


def open_channel(target: Target, endpoint: Endpoint) -> grpc.Channel:
    """Return a channel. It connects at the first call.

    Raises:
        InvalidSetting: the CA file, or the client's certificate or key, can't be used, or
            the unix socket is somebody else's.
    """
    if endpoint.path:
        _check_owner(endpoint.path)
    credentials = _credentials(target, endpoint)
    return grpc.secure_channel(endpoint.uri, credentials, options=_options(target, endpoint))


def _credentials(target: Target, endpoint: Endpoint) -> grpc.ChannelCredentials:
    if endpoint.tls:
        cert, key = _identity(target)
        return grpc.ssl_channel_credentials(_roots(target.ca_file), key, cert)
    # Plain HTTP/2, refused by gRPC itself when the peer turns out not to be local. Unlike
    # an insecure channel it carries call credentials.
    kind = grpc.LocalConnectionType.UDS if endpoint.path else grpc.LocalConnectionType.LOCAL_TCP
    return grpc.local_channel_credentials(kind)


def _check_owner(path: str) -> None:
    """Refuse a socket that another user may have put where the server's should be.

    The server's is open to its own user alone, and to root.
    """
    try:
        owner = os.stat(path).st_uid  # noqa: PTH116 - importing pathlib costs a promotion 10 ms
    except OSError:
        return
    if owner not in (0, os.geteuid()) and os.geteuid() != 0:
        raise InvalidSetting(
            f"the socket {path[:120]!a} belongs to another user, and a token would be sent there",
            fix="check --server; run imgctl as the user whose server it is",
        )


def _options(target: Target, endpoint: Endpoint) -> list[tuple[str, int | str]]:
    milliseconds = max(1, int(target.timeout * 1000))
    return [
        ("grpc.primary_user_agent", f"imgctl/{__version__}"),
        ("grpc.max_send_message_length", MAX_REQUEST),
        ("grpc.max_receive_message_length", MAX_RESPONSE),
        ("grpc.max_metadata_size", MAX_METADATA),
        ("grpc.absolute_max_metadata_size", MAX_METADATA),
        # Also how long one attempt to connect may take; gRPC's own value is 20 s.
        ("grpc.min_reconnect_backoff_ms", milliseconds),
        ("grpc.dns_ares_query_timeout", milliseconds),
        # Saves a TXT lookup, and nobody's DNS decides how we retry.
        ("grpc.service_config_disable_resolution", 1),
        # Notices within a minute a server that vanished during a silent call.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # gRPC would send even loopback addresses through the proxy of the environment.
        ("grpc.enable_http_proxy", 0 if endpoint.loopback else 1),
    ]


def _roots(ca_file: Path | None) -> bytes | None:
    """Return the certificates to trust, in PEM form; None for those that gRPC brings."""
    if ca_file is not None:
        return _read(str(ca_file), "the CA file")
    for variable in ("SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        if name := os.environ.get(variable):
            return _read(name, variable)
    for name in _SYSTEM_ROOTS:
        try:
            return _bytes(name)
        except OSError:
            continue
    return None


def _identity(target: Target) -> tuple[bytes | None, bytes | None]:
    """Return the client's own certificate and key, in PEM form."""
    if target.cert_file is None and target.key_file is None:
        return None, None
    if target.cert_file is None or target.key_file is None:
        raise InvalidSetting(
            "a client's certificate and its key go together, and only one of them is given",
            fix="give both --client-cert and --client-key, or neither",
        )
    cert = _read(str(target.cert_file), "the client's certificate")
    key = _read(str(target.key_file), "the client's key", "PRIVATE KEY")
    if b"ENCRYPTED" in key:
        raise InvalidSetting(
            f"the client's key {target.key_file} needs a passphrase",
            fix="store it without one, readable by you alone",
        )
    # gRPC would say no more than that no connection came about.
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(target.cert_file, target.key_file)
    except ssl.SSLError as error:
        raise InvalidSetting(
            f"{target.key_file} is not the key of the certificate in {target.cert_file}: "
            f"{error.reason or 'one of them can not be read'}",
            fix="give the certificate and the key that was made for it",
        ) from None
    return cert, key


def _read(name: str, what: str, kind: str = "CERTIFICATE") -> bytes:
    try:
        pem = _bytes(name)
    except OSError as error:
        raise InvalidSetting(f"{what} {name} can't be read: {error.strerror}") from None
    if b"-----BEGIN" not in pem or kind.encode() not in pem:
        raise InvalidSetting(f"{what} {name} holds no {kind.lower()} in PEM form")
    return pem


def _bytes(name: str) -> bytes:
    with open(name, "rb") as stream:  # noqa: PTH123 - importing pathlib costs a promotion 10 ms
        return stream.read()
