"""The specification's error codes, each with the status that goes with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from imgctl_core.testing.httpd import Response

STATUS: Final[Mapping[str, int]] = {
    "BLOB_UNKNOWN": HTTPStatus.NOT_FOUND,
    "BLOB_UPLOAD_INVALID": HTTPStatus.BAD_REQUEST,
    "BLOB_UPLOAD_UNKNOWN": HTTPStatus.NOT_FOUND,
    "DIGEST_INVALID": HTTPStatus.BAD_REQUEST,
    "MANIFEST_BLOB_UNKNOWN": HTTPStatus.NOT_FOUND,
    "MANIFEST_INVALID": HTTPStatus.BAD_REQUEST,
    "MANIFEST_UNKNOWN": HTTPStatus.NOT_FOUND,
    "NAME_INVALID": HTTPStatus.BAD_REQUEST,
    "NAME_UNKNOWN": HTTPStatus.NOT_FOUND,
    "SIZE_INVALID": HTTPStatus.BAD_REQUEST,
    "UNAUTHORIZED": HTTPStatus.UNAUTHORIZED,
    "DENIED": HTTPStatus.FORBIDDEN,
    "TOOMANYREQUESTS": HTTPStatus.TOO_MANY_REQUESTS,
    "UNSUPPORTED": HTTPStatus.METHOD_NOT_ALLOWED,
    # Not in the specification's table, but what registries in use answer.
    "TAG_INVALID": HTTPStatus.BAD_REQUEST,
    "PAGINATION_NUMBER_INVALID": HTTPStatus.BAD_REQUEST,
}


class RegistryError(Exception):
    """Becomes an error response. `details` makes one entry of the body for each."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 0,
        headers: Mapping[str, str | tuple[str, ...]] | None = None,
        details: tuple[object, ...] = (None,),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS[code]
        self.headers = dict(headers or {})
        self.details = details

    def response(self) -> Response:
        """Return the response, with the body that the specification gives errors."""
        entries = [
            {"code": self.code, "message": self.message, "detail": detail}
            for detail in self.details
        ]
        body = json.dumps({"errors": entries}).encode()
        return Response(self.status, {"Content-Type": "application/json", **self.headers}, body)
