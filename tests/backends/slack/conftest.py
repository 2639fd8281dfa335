"""A webhook sink on the loopback, and a promotion to tell of."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from imgctl_core import Actor, ItemResult, Outcome, Promotion, PromotionEvent


class Sink:
    """Takes POSTs and answers as told."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200
        self.body = b"ok"
        self.location = ""
        self.hang = threading.Event()
        self.hang.set()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                sink.posts.append(json.loads(content))
                sink.paths.append(self.path)
                sink.hang.wait(30)
                self.send_response(sink.status)
                if sink.location:
                    self.send_header("Location", sink.location)
                self.send_header("Content-Length", str(len(sink.body)))
                self.end_headers()
                self.wfile.write(sink.body)

            def do_GET(self) -> None:
                sink.paths.append("GET " + self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass  # a client that gave up is part of the test

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"{self.base}/services/T0/B0/very-secret-part"

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture
def event() -> PromotionEvent:
    started = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
    return PromotionEvent(
        Promotion(
            id="pr_1",
            source="dev",
            destination="prod",
            actor=Actor("https://dex", "ssh:alice", email="alice@example.com"),
            items=(
                ItemResult("app:v1", "image", Outcome.PROMOTED, "sha256:" + "a" * 64),
                ItemResult("spa:shop:v1", "spa", Outcome.UNCHANGED, "sha256:" + "b" * 64),
            ),
            started_at=started,
            ended_at=started + timedelta(seconds=12.34),
            outcome=Outcome.PROMOTED,
        )
    )
