"""Amazon ECR's passwords, through boto3."""

from __future__ import annotations

import base64
import binascii
import time
from typing import TYPE_CHECKING, Any

from imgctl_backends.image.ecr.account import EcrAccount, EcrRefused
from imgctl_backends.image.signin.credentials import Login
from imgctl_core.errors import EndpointDenied, EndpointFailed

if TYPE_CHECKING:
    from imgctl_backends.image.endpoint import ImageEndpoint


class EcrLogins:
    """Fetches the 12-hour password of one endpoint's identity."""

    def __init__(
        self, endpoint: ImageEndpoint, default_region: str, account: EcrAccount | None = None
    ) -> None:
        self._registry_id = endpoint.registry_id
        self._account = account or EcrAccount(endpoint, default_region)

    @property
    def region(self) -> str:
        return self._account.region

    def load(self) -> Login:
        """Ask ECR for a password.

        Raises:
            EndpointDenied: AWS knows no credentials of ours, or refuses them.
            EndpointUnreachable: AWS does not answer.
        """
        asked = time.time()
        try:
            answer = self._account.call("ask for a password", self._ask)
        except EcrRefused as refused:
            raise EndpointDenied(
                f"AWS refused us a password for the registry {self._account} ({refused.code})",
                fix="the server's AWS identity needs ecr:GetAuthorizationToken, and sts:AssumeRole "
                "where role_arn is set",
            ) from refused
        return self._login(answer, asked)

    def _ask(self, client: Any) -> Any:
        if self._registry_id is not None:
            return client.get_authorization_token(registryIds=[self._registry_id])
        return client.get_authorization_token()

    def _login(self, answer: Any, asked: float) -> Login:
        try:
            data = answer["authorizationData"][0]
            decoded = base64.b64decode(data["authorizationToken"], validate=True).decode("ascii")
            username, colon, password = decoded.partition(":")
            lifetime = data["expiresAt"].timestamp() - asked
        except (LookupError, AttributeError, ValueError, binascii.Error) as error:
            raise EndpointFailed(
                f"AWS sent no password for the registry {self._account}"
            ) from error
        if not colon or not password:
            raise EndpointFailed(f"AWS sent no password for the registry {self._account}")
        return Login(username, password, lifetime=lifetime)
