"""Clients of CloudFront, as whoever the environment's bucket is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from imgctl_backends.spa.endpoint import SpaEndpoint
from imgctl_backends.spa.wire.answers import plain
from imgctl_backends.spa.wire.session import open_session
from imgctl_core.errors import (
    EndpointDenied,
    EndpointFailed,
    EndpointNotFound,
    EndpointUnreachable,
    ImgctlError,
)

#: Seconds.
_CONNECT_TIMEOUT: Final = 3
_READ_TIMEOUT: Final = 20
_ATTEMPTS: Final = 3
#: CloudFront has no regions; this one says which partition is meant.
_ANY_REGION: Final = "us-east-1"

_UNREACHABLE: Final = (boto.ConnectionError, boto.HTTPClientError)
_MISSING: Final = frozenset(
    {"NoSuchDistribution", "ResourceNotFoundException", "EntityNotFound", "NoSuchResource"}
)


class Clouds:
    """Makes clients, and keeps them. No client is made before it is needed."""

    def __init__(self) -> None:
        # Making sessions and clients is not safe between threads; using clients is.
        self._lock = threading.Lock()
        self._sessions: dict[tuple[object, ...], boto3.Session] = {}
        self._clients: dict[tuple[object, ...], Any] = {}

    def cloudfront(self, endpoint: SpaEndpoint) -> Any:
        """Return the client that makes invalidations.

        Raises:
            botocore.exceptions.BotoCoreError: the settings or credentials can't be used.
        """
        return self._client("cloudfront", endpoint, endpoint.region)

    def key_values(self, endpoint: SpaEndpoint) -> Any:
        """Return the client that reads and writes key value stores.

        Raises:
            botocore.exceptions.BotoCoreError: the settings or credentials can't be used.
        """
        return self._client("cloudfront-keyvaluestore", endpoint, _ANY_REGION)

    def close(self) -> None:
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
            self._sessions.clear()
        for client in clients:
            client.close()

    def _client(self, service: str, endpoint: SpaEndpoint, region: str | None) -> Any:
        key = (service, *endpoint.connection)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._make(service, endpoint, region)
            return self._clients[key]

    def _make(self, service: str, endpoint: SpaEndpoint, region: str | None) -> Any:
        if endpoint.connection not in self._sessions:
            self._sessions[endpoint.connection] = open_session(endpoint)
        session: Any = self._sessions[endpoint.connection]
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            user_agent_extra="imgctl",
        )
        return session.client(
            service, region_name=region or session.region_name or _ANY_REGION, config=config
        )


@contextmanager
def told(what: str, action: str) -> Iterator[None]:
    """Turn what boto3 raises inside into an error of imgctl's that names both.

    `what` is a distribution or a store with its environment, `action` IAM's word for
    what is done.
    """
    try:
        yield
    except (boto.BotoCoreError, boto.ClientError) as error:
        raise _error(error, what, action) from error


def _error(error: Exception, what: str, action: str) -> ImgctlError:
    if not isinstance(error, boto.ClientError):
        text = plain(str(error))
        if isinstance(error, _UNREACHABLE):
            return EndpointUnreachable(
                f"{what} can't be reached: {text}",
                fix="check that the server can reach CloudFront's API, then try again",
            )
        return EndpointFailed(f"{action} failed at {what}: {text}")
    said = error.response.get("Error", {})
    code, message = plain(str(said.get("Code", ""))), plain(str(said.get("Message", "")))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{message or code} ({code})" if message and code else message or code or str(status)
    if error.operation_name.startswith("AssumeRole"):
        return EndpointDenied(
            f"the role for {what} can't be assumed: {text}",
            fix="check role_arn and external_id, and the role's trust policy",
        )
    if code in _MISSING or status == 404:
        return EndpointNotFound(
            f"{what} does not exist: {text}", fix="check its id in the server's settings"
        )
    if status in (401, 403):
        return EndpointDenied(
            f"{what} refused {action}: {text}", fix=f"allow {action} to the server's AWS identity"
        )
    return EndpointFailed(f"{what} refused {action}: {text}")
