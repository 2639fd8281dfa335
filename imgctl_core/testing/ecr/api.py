"""ECR's API: the JSON protocol, refusals, and the count of calls."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from imgctl_core.testing.ecr.access import EcrAccess
from imgctl_core.testing.ecr.limits import QUOTAS, Limits
from imgctl_core.testing.ecr.operations import ApiError, Operations
from imgctl_core.testing.ecr.repositories import Repositories
from imgctl_core.testing.ecr.uploads import EcrUploads
from imgctl_core.testing.ecr.validator import Validator
from imgctl_core.testing.httpd import HttpServer, Request, Response
from imgctl_core.testing.registry.state import State

_TARGET: Final = "AmazonEC2ContainerRegistry_V20150921."
_LARGEST: Final = 1024 * 1024
_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+)/")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call. `error` is the code that it was refused with, empty when it wasn't."""

    operation: str
    parameters: Mapping[str, Any] = field(repr=False)
    access_key: str
    error: str = ""


@dataclass(slots=True)
class _Refusal:
    code: str
    message: str
    times: int | None


class EcrApi(HttpServer):
    """Answers the operations that go with a promotion, from the registry's state.

    Signatures are not checked; a call without one is refused. `calls` and `count_calls`
    tell what was asked, `refuse` lets an operation fail.
    """

    def __init__(
        self,
        state: State,
        repositories: Repositories,
        validator: Validator,
        access: EcrAccess,
        uploads: EcrUploads,
        limits: Limits,
        *,
        account: str,
        region: str,
        registry_url: Callable[[], str],
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(self._serve_call, host=host, port=port)
        self._operations = Operations(
            state,
            repositories,
            validator,
            access,
            uploads,
            account=account,
            region=region,
            registry_url=registry_url,
        )
        self._limits = limits
        self._account = account
        self._calls_lock = threading.Lock()
        self._calls: list[ApiCall] = []
        self._refusals: dict[str, _Refusal] = {}

    @property
    def calls(self) -> tuple[ApiCall, ...]:
        """The calls so far, in the order in which they were answered."""
        with self._calls_lock:
            return tuple(self._calls)

    def count_calls(self, operation: str = "") -> int:
        """Count the calls of that operation, or all."""
        return sum(not operation or call.operation == operation for call in self.calls)

    def refuse(
        self,
        operation: str,
        code: str = "AccessDeniedException",
        message: str = "",
        times: int | None = None,
    ) -> None:
        """Let the next `times` calls of an operation fail with that code, None for all."""
        if not message:
            message = (
                f"User: arn:aws:iam::{self._account}:user/test is not authorized to perform: "
                f"ecr:{operation} because no identity-based policy allows it"
            )
        with self._calls_lock:
            self._refusals[operation] = _Refusal(code, message, times)

    def _serve_call(self, request: Request) -> Response:
        operation = request.headers.get("X-Amz-Target").removeprefix(_TARGET)
        parameters: Mapping[str, Any] = {}
        error = ""
        try:
            parameters = _parameters(request)
            self._admit(request, operation)
            status, answer = 200, self._operations.run(operation, parameters)
        except ApiError as refused:
            error, status = refused.code, refused.status
            answer = {"__type": refused.code, "message": refused.message}
        found = _CREDENTIAL.search(request.headers.get("Authorization"))
        call = ApiCall(operation, parameters, found[1] if found else "", error)
        with self._calls_lock:
            self._calls.append(call)
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "x-amzn-RequestId": str(uuid.uuid4()),
        }
        return Response(status, headers, json.dumps(answer).encode())

    def _admit(self, request: Request, operation: str) -> None:
        if not request.headers.get("Authorization"):
            raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
        with self._calls_lock:
            refusal = self._refusals.get(operation)
            if refusal is not None and refusal.times is not None:
                refusal.times -= 1
                if refusal.times <= 0:
                    del self._refusals[operation]
        if refusal is not None:
            raise ApiError(refusal.code, refusal.message)
        if operation in QUOTAS and not self._limits.take(operation):
            raise ApiError("ThrottlingException", "Rate exceeded")


def _parameters(request: Request) -> Mapping[str, Any]:
    try:
        parsed = json.loads(request.body.read(_LARGEST) or b"{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ApiError("SerializationException", "the body is no JSON object")
    return parsed
