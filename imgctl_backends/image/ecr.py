"""Amazon ECR's passwords, through boto3."""

from __future__ import annotations

import base64
import binascii
import time
from typing import TYPE_CHECKING, Any

from imgctl_backends.image.credentials import Login
from imgctl_backends.image.ecr_hosts import EcrHost, parse_host
from imgctl_core.errors import EndpointDenied, EndpointFailed, EndpointUnreachable

if TYPE_CHECKING:
    import boto3

    from imgctl_backends.image.endpoint import ImageEndpoint

_SESSION_NAME = "imgctl"


class EcrLogins:
    """Fetches the 12-hour password of one endpoint's identity. Not thread-safe."""

    def __init__(self, endpoint: ImageEndpoint, default_region: str) -> None:
        self._endpoint = endpoint
        named = parse_host(endpoint.address.host)
        self._host = named or EcrHost("", "", fips=False, dual_stack=False)
        self.region = self._host.region or endpoint.region or default_region

    def load(self) -> Login:
        """Ask ECR for a password.

        Raises:
            EndpointDenied: AWS knows no credentials of ours, or refuses them.
            EndpointUnreachable: AWS does not answer.
        """
        from botocore import exceptions as raised

        asked = time.time()
        try:
            answer = self._ask()
        except raised.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            raise EndpointDenied(
                f"AWS refused us a password for the registry {self._endpoint.address} ({code})",
                fix="the server's AWS identity needs ecr:GetAuthorizationToken, and sts:AssumeRole "
                "where role_arn is set",
            ) from error
        except (raised.ConnectionError, raised.HTTPClientError) as error:
            raise EndpointUnreachable(
                f"AWS can't be reached for a password of the registry {self._endpoint.address}"
            ) from error
        except raised.BotoCoreError as error:
            raise EndpointDenied(
                f"there are no usable AWS credentials for the registry {self._endpoint.address} "
                f"({type(error).__name__})",
                fix="give the server an AWS identity: AWS_PROFILE, a role, or profile and "
                "role_arn of the endpoint",
            ) from error
        return self._login(answer, asked)

    def _ask(self) -> Any:
        from botocore.config import Config

        config = Config(
            connect_timeout=5,
            read_timeout=10,
            retries={"total_max_attempts": 3, "mode": "standard"},
            use_fips_endpoint=self._host.fips or None,
            use_dualstack_endpoint=self._host.dual_stack or None,
        )
        client = self._session(config).client("ecr", region_name=self.region, config=config)
        try:
            if self._endpoint.registry_id is not None:
                return client.get_authorization_token(registryIds=[self._endpoint.registry_id])
            return client.get_authorization_token()
        finally:
            client.close()

    def _session(self, config: Any) -> boto3.Session:
        import boto3

        session = boto3.Session(profile_name=self._endpoint.profile, region_name=self.region)
        if self._endpoint.role_arn is None:
            return session
        sts = session.client("sts", region_name=self.region, config=config)
        asked = {"RoleArn": self._endpoint.role_arn, "RoleSessionName": _SESSION_NAME}
        if self._endpoint.external_id is not None:
            asked["ExternalId"] = self._endpoint.external_id
        try:
            assumed = sts.assume_role(**asked)["Credentials"]  # type: ignore[arg-type]
        finally:
            sts.close()
        return boto3.Session(
            aws_access_key_id=assumed["AccessKeyId"],
            aws_secret_access_key=assumed["SecretAccessKey"],
            aws_session_token=assumed["SessionToken"],
            region_name=self.region,
        )

    def _login(self, answer: Any, asked: float) -> Login:
        try:
            data = answer["authorizationData"][0]
            decoded = base64.b64decode(data["authorizationToken"], validate=True).decode("ascii")
            username, colon, password = decoded.partition(":")
            lifetime = data["expiresAt"].timestamp() - asked
        except (LookupError, AttributeError, ValueError, binascii.Error) as error:
            raise EndpointFailed(
                f"AWS sent no password for the registry {self._endpoint.address}"
            ) from error
        if not colon or not password:
            raise EndpointFailed(f"AWS sent no password for the registry {self._endpoint.address}")
        return Login(username, password, lifetime=lifetime)
