"""A small HTTP/1.1 server for the kit's fakes: keep-alive, TLS, a request log, faults."""

from __future__ import annotations

from imgctl_core.testing.httpd.errors import Broken, ClientGone, UpstreamGone
from imgctl_core.testing.httpd.faults import Fault, Hook, Injected
from imgctl_core.testing.httpd.messages import (
    FileBody,
    Headers,
    Request,
    RequestRecord,
    Response,
    StreamBody,
)
from imgctl_core.testing.httpd.server import HttpServer

__all__ = [
    "Broken",
    "ClientGone",
    "Fault",
    "FileBody",
    "Headers",
    "Hook",
    "HttpServer",
    "Injected",
    "Request",
    "RequestRecord",
    "Response",
    "StreamBody",
    "UpstreamGone",
]
