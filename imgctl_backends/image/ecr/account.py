"""Amazon ECR's own API, as one endpoint's identity calls it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from imgctl_backends.image.ecr.hosts import EcrHost, parse_host
from imgctl_core.errors import EndpointDenied, EndpointUnreachable

if TYPE_CHECKING:
    import boto3
    import botocore.session

    from imgctl_backends.image.endpoint import ImageEndpoint

_SESSION_NAME: Final = "imgctl"

#: An assumed role is assumed again this long before it ends.
_ROLE_MARGIN: Final = 300.0

#: What AWS answers to a call too many.
_THROTTLED: Final = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException"})


class EcrRefused(Exception):
    """The API answered with an error of its own. `code` is AWS's name for it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code

    @property
    def throttled(self) -> bool:
        return self.code in _THROTTLED


class EcrAccount:
    """The API of the account and region that a registry belongs to.

    Safe to share between threads. One client serves all calls, until the role that it
    was made for ends.
    """

    def __init__(self, endpoint: ImageEndpoint, default_region: str) -> None:
        self._endpoint = endpoint
        named = parse_host(endpoint.address.host)
        self._host = named or EcrHost("", "", fips=False, dual_stack=False)
        self.region = self._host.region or endpoint.region or default_region
        self._lock = threading.Lock()
        self._client: Any = None
        self._good_until: float | None = None

    def __str__(self) -> str:
        return self._endpoint.address.netloc

    @property
    def place(self) -> tuple[str, str, str]:
        """Return what two registries have in common when they are one to ECR."""
        host = "" if self._host.account else self._endpoint.address.netloc
        return host, self._host.account or self._endpoint.registry_id or "", self.region

    @property
    def ids(self) -> dict[str, str]:
        """Return the parameter that says whose repositories are meant, if that is known."""
        account = self._endpoint.registry_id or self._host.account
        return {"registryId": account} if account else {}

    def call(self, doing: str, operation: Callable[[Any], Any]) -> Any:
        """Return what an operation of the boto3 client gives.

        `doing` completes "… when we wanted to".

        Raises:
            EcrRefused: the API said no.
            EndpointDenied: there are no AWS credentials, or no role to assume.
            EndpointUnreachable: AWS does not answer.
        """
        from botocore import exceptions as raised

        try:
            return operation(self._current())
        except raised.ClientError as error:
            said = error.response.get("Error", {})
            raise EcrRefused(
                str(said.get("Code", "unknown")), _clean(str(said.get("Message", "")))
            ) from error
        except raised.ParamValidationError as error:
            raise EcrRefused("InvalidParameter", _clean(str(error))) from error
        except (raised.ConnectionError, raised.HTTPClientError) as error:
            raise EndpointUnreachable(
                f"AWS can't be reached when we wanted to {doing} for the registry {self}",
                fix="the server must reach ECR's API, and STS where role_arn is set",
            ) from error
        except raised.BotoCoreError as error:
            raise EndpointDenied(
                f"there are no usable AWS credentials for the registry {self} "
                f"({type(error).__name__})",
                fix="give the server an AWS identity: AWS_PROFILE, a role, or profile and "
                "role_arn of the endpoint",
            ) from error

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _current(self) -> Any:
        with self._lock:
            ended = self._good_until is not None and time.time() >= self._good_until
            if self._client is None or ended:
                # The old one is not closed: other threads may be using it.
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        import boto3
        import botocore.session
        from botocore.config import Config

        config = Config(
            connect_timeout=5,
            read_timeout=10,
            retries={"total_max_attempts": 3, "mode": "standard"},
            use_fips_endpoint=self._host.fips or None,
            use_dualstack_endpoint=self._host.dual_stack or None,
        )
        core = botocore.session.Session(profile=self._endpoint.profile)
        session = boto3.Session(botocore_session=core, region_name=self.region)
        verify = _own_roots(core)
        self._good_until = None
        if self._endpoint.role_arn is not None:
            session = self._assumed(session, config, verify)
        return session.client("ecr", region_name=self.region, config=config, verify=verify)

    def _assumed(self, session: boto3.Session, config: Any, verify: str | None) -> boto3.Session:
        import boto3

        asked = {"RoleArn": self._endpoint.role_arn, "RoleSessionName": _SESSION_NAME}
        if self._endpoint.external_id is not None:
            asked["ExternalId"] = self._endpoint.external_id
        sts = session.client("sts", region_name=self.region, config=config, verify=verify)
        try:
            assumed = sts.assume_role(**asked)["Credentials"]  # type: ignore[arg-type]
        finally:
            sts.close()
        self._good_until = assumed["Expiration"].timestamp() - _ROLE_MARGIN
        return boto3.Session(
            aws_access_key_id=assumed["AccessKeyId"],
            aws_secret_access_key=assumed["SecretAccessKey"],
            aws_session_token=assumed["SessionToken"],
            region_name=self.region,
        )


def _own_roots(core: botocore.session.Session) -> str | None:
    """Return SSL_CERT_FILE, which boto3 does not know, unless it knows another one."""
    if core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE"):
        return None
    return os.environ.get("SSL_CERT_FILE") or None


def _clean(text: str) -> str:
    """Return AWS's words as they may stand in a message."""
    return "".join(char if char.isprintable() else " " for char in text[:200]).strip()
