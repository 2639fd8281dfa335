"""Whose certificates we believe."""

from __future__ import annotations

import ssl

from imgctl_backends.image.endpoint import ImageEndpoint
from imgctl_core.errors import InvalidSetting
from imgctl_core.tls import client_context


def trust_roots(endpoint: ImageEndpoint) -> ssl.SSLContext:
    """Return a context with the system's roots and the endpoint's `ca_file`.

    Raises:
        InvalidSetting: `ca_file` can't be used.
    """
    context = client_context()
    if endpoint.ca_file is not None:
        try:
            context.load_verify_locations(cafile=endpoint.ca_file)
        except (ssl.SSLError, OSError) as error:
            raise InvalidSetting(
                f"ca_file of the registry {endpoint.address} can't be used: "
                f"{_ssl_reason(error) or 'it can not be read'}",
                fix="ca_file names a PEM file with the certificates to trust",
            ) from error
    return context


def _ssl_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "").replace("_", " ").lower()
    return (error.strerror or "").lower()
