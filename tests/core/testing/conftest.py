"""What the kit's own tests share."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Ask(Protocol):
    """Sends one request, on a connection of its own."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
    ) -> Answer: ...


@pytest.fixture
def ask() -> Ask:
    """Return a function that sends one request and follows nothing."""

    def send(
        url: str,
        method: str = "GET",
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
    ) -> Answer:
        parts = urlsplit(url)
        assert parts.hostname is not None
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=str(ca_file))
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=10, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, body, dict(headers or {}))
            with connection.getresponse() as response:
                return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    return send
