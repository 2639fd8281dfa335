"""ECR's passwords: Basic for the user AWS, good for a while."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Callable

from imgctl_core.testing.httpd import Request, Response
from imgctl_core.testing.registry.access import Access
from imgctl_core.testing.registry.errors import RegistryError

USERNAME = "AWS"


class _NotAuthorized(RegistryError):
    """ECR's answer to a request without credentials, which is no JSON."""

    def response(self) -> Response:
        headers = {"Content-Type": "text/plain; charset=utf-8", **self.headers}
        return Response(self.status, headers, b"Not Authorized\n")


class EcrAccess(Access):
    """Issues passwords and checks them. An expired one is 403, as at ECR, not 401."""

    def __init__(
        self,
        lifetime: float,
        url: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            "basic", USERNAME, "", anonymous_pull=False, lifetime=lifetime, url=url, clock=clock
        )
        self.lifetime = lifetime
        self._passwords: dict[str, float] = {}

    def issue_password(self) -> str:
        """Return a new password, of about the length that ECR's have."""
        password = base64.b64encode(secrets.token_bytes(1400)).decode()
        with self._lock:
            self._passwords[password] = self._clock() + self.lifetime
        return password

    def expire_tokens(self) -> None:
        """Let every password issued until now be expired."""
        with self._lock:
            self._passwords = dict.fromkeys(self._passwords, float("-inf"))

    def check(self, request: Request, name: str, action: str, source: str = "") -> None:
        """Raise what ECR answers, unless the password is good. It is good for everything."""
        authorization = request.headers.get("Authorization")
        if not authorization:
            challenge = f'Basic realm="{self._url()}/",service="ecr.amazonaws.com"'
            raise _NotAuthorized(
                "UNAUTHORIZED", "Not Authorized", headers={"WWW-Authenticate": challenge}
            )
        with self._lock:
            expires = self._passwords.get(_password(authorization))
        if expires is None:
            raise RegistryError("DENIED", "Your Authorization Token is invalid.")
        if expires <= self._clock():
            raise RegistryError(
                "DENIED", "Your authorization token has expired. Reauthenticate and try again."
            )


def _password(authorization: str) -> str:
    scheme, _, encoded = authorization.partition(" ")
    try:
        login = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    username, _, password = login.partition(":")
    return password if scheme.lower() == "basic" and username == USERNAME else ""
