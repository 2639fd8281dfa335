"""The server's certificate: read, checked, and read again when it was renewed."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from imgctl_core.errors import InvalidSetting

_LOG = logging.getLogger("imgctl.server")
_SOON = timedelta(days=14)

#: A certificate that runs out soon is told of in the log again after this.
_REMIND = timedelta(days=1)

#: Seconds until files that were no good are looked at again, when nobody touches them.
_AGAIN = 10.0


@dataclass(frozen=True)
class Paths:
    """PEM files: the certificate and its chain, the key, and who may vouch for clients."""

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class Material:
    """What the files hold, checked."""

    chain: bytes
    key: bytes
    client_ca: bytes | None
    expires: datetime

    def warnings(self, now: datetime | None = None) -> list[str]:
        left = self.expires - (now or datetime.now(UTC))
        if left < _SOON:
            return [f"the TLS certificate expires on {self.expires:%Y-%m-%d %H:%M} UTC"]
        return []

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.chain)], root_certificates=self.client_ca
        )

    def __repr__(self) -> str:
        return f"Material(expires={self.expires})"


def load(paths: Paths) -> Material:
    """Read and check the files.

    Raises:
        InvalidSetting: one can't be read, is not what it should be, the key belongs to
            another certificate, or the certificate has expired.
    """
    chain, key = _read(paths.cert, "tls_cert"), _read(paths.key, "tls_key")
    client_ca = _read(paths.client_ca, "tls_client_ca") if paths.client_ca else None
    certificate = _certificates(chain, paths.cert, "tls_cert")[0]
    if client_ca is not None and paths.client_ca is not None:
        _certificates(client_ca, paths.client_ca, "tls_client_ca")
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise InvalidSetting(
            f"tls_key: {paths.key} needs a passphrase",
            fix="store the key without one, readable by the server alone",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidSetting(f"tls_key: {paths.key} holds no private key in PEM form") from None
    der = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*der) != certificate.public_key().public_bytes(*der):
        raise InvalidSetting(
            f"tls_key: {paths.key} is not the key of the certificate in {paths.cert}",
            fix="the server's own certificate must come first in its file",
        )
    expires = certificate.not_valid_after_utc
    if expires <= datetime.now(UTC):
        raise InvalidSetting(
            f"tls_cert: the certificate in {paths.cert} expired on {expires:%Y-%m-%d %H:%M} UTC",
            fix="renew it",
        )
    return Material(chain, key, client_ca, expires)


class RenewingCertificate:
    """Gives gRPC the certificate, and the new one when the files have changed.

    A pair that is no good (half of it written so far, expired) is logged once and the old
    one stays in use.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._material = load(paths)
        self._refused: tuple[object, ...] = ()
        self._again = 0.0
        self._reminded = datetime.now(UTC)

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            self._material.configuration(),
            self.fetch,  # type: ignore[arg-type] # None is allowed, the stubs don't know
            require_client_authentication=self._paths.client_ca is not None,
        )

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration, None when nothing changed.

        gRPC calls this in every handshake, so it costs no more than looking at the
        files' times.
        """
        with self._lock:
            self._remind(datetime.now(UTC))
            stamp = self._stamp()
            if stamp == self._seen:
                return None
            # What is no good now may be good in a moment, with the same times: files that
            # could not be opened because too many are, a certificate whose day has not come.
            now, known = time.monotonic(), stamp == self._refused
            if known and now < self._again:
                return None
            try:
                self._material = load(self._paths)
            except InvalidSetting as error:
                self._refused, self._again = stamp, now + _AGAIN
                if not known:
                    _LOG.error("the renewed TLS files are not used: %s", error.message)
                return None
            self._seen = stamp
        _LOG.info("TLS certificate renewed, valid until %s", self._material.expires)
        return self._material.configuration()

    def _remind(self, now: datetime) -> None:
        # What is wrong when the server starts, the start itself tells.
        if now - self._reminded >= _REMIND:
            self._reminded = now
            for warning in self._material.warnings(now):
                _LOG.warning("%s, and nobody has renewed it", warning)

    def _stamp(self) -> tuple[object, ...]:
        return tuple(
            _stat(path)
            for path in (self._paths.cert, self._paths.key, self._paths.client_ca)
            if path is not None
        )


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSetting(f"{name}: {path} can't be read: {error.strerror}") from None


def _certificates(pem: bytes, path: Path, name: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise InvalidSetting(f"{name}: {path} holds no certificate in PEM form") from None
