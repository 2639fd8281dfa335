"""boto3 sessions and clients, one per identity and region.

All that boto3 takes from its variables and files holds here: profile, region, endpoint
URLs, certificate bundle, proxies.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.httpsession import get_cert_path
from botocore.loaders import Loader, create_loader

from imgctl_backends.spa.endpoint import SpaEndpoint
from imgctl_backends.spa.wire.renewing import Given, Renewable

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

#: Seconds. Few and short, so that an endpoint that is down is known to be down soon.
_CONNECT_TIMEOUT: Final = 3
_READ_TIMEOUT: Final = 60
_ATTEMPTS: Final = 3
_POOL: Final = 32
_ROLE_SESSION: Final = "imgctl"

_AWS_DOMAINS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


@dataclass(frozen=True, slots=True)
class Connection:
    """One identity in one region, ready to use from any thread.

    `custom` says that the endpoint is not one that boto3 derives from the region.
    """

    client: S3Client
    credentials: Renewable
    ca_file: str
    custom: bool


class Connections:
    """Makes connections, and keeps them."""

    def __init__(self) -> None:
        # Making sessions and clients is not safe between threads; using clients is.
        self._lock = threading.Lock()
        self._made: dict[tuple[object, ...], Connection] = {}

    def get(self, endpoint: SpaEndpoint) -> Connection:
        """Return the connection for an endpoint.

        Raises:
            botocore.exceptions.BotoCoreError: the settings or credentials can't be used.
        """
        key = endpoint.connection
        with self._lock:
            if key not in self._made:
                self._made[key] = _connect(endpoint)
            return self._made[key]

    def close(self) -> None:
        with self._lock:
            made, self._made = list(self._made.values()), {}
        for connection in made:
            connection.client.close()


def _core(profile: str | None) -> botocore.session.Session:
    core = botocore.session.Session(profile=profile)
    # Reading the service's model takes most of the time that a session takes.
    core.register_component("data_loader", _models(core.get_config_variable("data_path")))
    return core


@cache
def _models(search_path: str | None) -> Loader:
    return create_loader(search_path)


def open_session(endpoint: SpaEndpoint) -> boto3.Session:
    """Return a session of an endpoint's identity, for other services than S3.

    Raises:
        botocore.exceptions.BotoCoreError: the settings can't be used.
    """
    return boto3.Session(botocore_session=_identity(endpoint), region_name=endpoint.region)


def _identity(endpoint: SpaEndpoint) -> botocore.session.Session:
    core = _core(endpoint.profile)
    if endpoint.role_arn:
        _assume(core, endpoint.role_arn, endpoint.external_id, endpoint.region)
    return core


def _connect(endpoint: SpaEndpoint) -> Connection:
    # A session keeps what it has; a new one asks again, and reads files again.
    credentials = Renewable(lambda: _identity(endpoint).get_credentials())
    core = _core(endpoint.profile)
    core.register_component("credential_provider", CredentialResolver([Given(credentials)]))
    session = boto3.Session(botocore_session=core, region_name=endpoint.region)
    # A bucket's name before the host's needs DNS and certificates that only AWS has.
    custom = bool(endpoint.address)
    path_style = custom if endpoint.path_style is None else endpoint.path_style
    client = _client(session, endpoint.endpoint_url, path_style=path_style)
    if not endpoint.endpoint_url and _is_aws(client) is custom:
        # Configuration files and AWS_IGNORE_CONFIGURED_ENDPOINT_URLS have their say too.
        custom = not custom
        if endpoint.path_style is None:
            client.close()
            client = _client(session, endpoint.endpoint_url, path_style=custom)
    on_retry: Any = credentials.on_retry  # the stubs know of handlers that return nothing
    client.meta.events.register_first("needs-retry.s3", on_retry)
    bundle: Any = core.get_config_variable("ca_bundle") or os.environ.get(
        "REQUESTS_CA_BUNDLE", True
    )
    return Connection(client, credentials, str(get_cert_path(bundle)), custom)


def _is_aws(client: S3Client) -> bool:
    return (urlsplit(client.meta.endpoint_url).hostname or "").endswith(_AWS_DOMAINS)


def _client(session: boto3.Session, url: str | None, *, path_style: bool) -> S3Client:
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        max_pool_connections=_POOL,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        user_agent_extra="imgctl",
        s3={"addressing_style": "path" if path_style else "auto"},
    )
    return session.client("s3", endpoint_url=url, config=config)


def _assume(
    core: botocore.session.Session, role: str, external_id: str | None, region: str | None
) -> None:
    """Make a session's credentials those of a role that its own credentials may assume."""
    own = _core(core.profile)
    sts = boto3.Session(
        botocore_session=own, region_name=core.get_config_variable("region")
    ).client(
        "sts",
        config=Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        ),
    )

    def fetch() -> dict[str, str]:
        extra: Any = {"ExternalId": external_id} if external_id else {}
        given = sts.assume_role(RoleArn=role, RoleSessionName=_ROLE_SESSION, **extra)["Credentials"]
        return {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": given["Expiration"].isoformat(),
        }

    core.register_component("credential_provider", CredentialResolver([_Role(fetch)]))


class _Role(CredentialProvider):
    METHOD = "imgctl-assume-role"
    CANONICAL_NAME = None

    def __init__(self, fetch: Any) -> None:
        super().__init__()
        self._fetch = fetch

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(refresh_using=self._fetch, method=self.METHOD)
