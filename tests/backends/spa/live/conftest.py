"""Going live, watched from outside: benches, a key value store, a CloudFront of moto's."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from imgctl_backends.spa.promoter import SpaPromoter
from imgctl_core import Context, Plan, PromotionItem

#: What is under a version's prefix, `{v}` being the version.
BUILD: Mapping[str, str] = {
    "assets/app.3f2a9c1b.js": "app {v}",
    "assets/app.css": "css {v}",
    "sw.js": "worker {v}",
    "about.html": '<link rel="stylesheet" href="/{v}/assets/app.css">about {v}',
    "docs/index.html": "docs {v}",
    "index.html": '<script src="/{v}/assets/app.3f2a9c1b.js"></script>{v}',
}


@dataclass
class LiveBench:
    """A promoter, and an activation's steps as the engine takes them."""

    promoter: SpaPromoter

    def item(self, version: str | None = None, *, wait: bool = False) -> PromotionItem:
        """Return the item for a version, or for the one before."""
        ref = self.promoter.parse_name("shop")
        text = "spa:shop"
        if version:
            ref, text = self.promoter.parse(f"shop:{version}"), f"spa:shop:{version}"
        return PromotionItem(text, ref, "prod", "prod", wait=wait)

    def plan(self, version: str | None = None, *, wait: bool = False) -> Plan:
        return self.promoter.plan_activation(self.item(version, wait=wait), Context())

    def activate(
        self, version: str | None = None, *, wait: bool = False, context: Context | None = None
    ) -> Plan:
        context = context or Context(promotion_id="pr_1")
        plan = self.promoter.plan_activation(self.item(version, wait=wait), context)
        if not plan.unchanged:
            self.promoter.activate(plan, context)
            assert self.promoter.verify_activation(plan, context) == plan.digest
        return plan


@pytest.fixture
def live_bench(make_bench: Any) -> Callable[..., LiveBench]:
    """Return a function that makes a bench whose environment goes live as it is told."""

    def make(url: str, mode: str, **live: Any) -> LiveBench:
        return LiveBench(make_bench(url, prod={"live": {"mode": mode, **live}}).promoter)

    return make


@pytest.fixture
def seed(stub: Any) -> Callable[..., None]:
    """Return a function that puts a build into the stub, with other files if it is told.

    What has the version in it has a size of its own, too: nothing must be read to see
    that it differs.
    """

    def put(*versions: str, **files: str) -> None:
        for version in versions:
            for key, text in {**BUILD, **files}.items():
                padding = " " * int(version[1:]) if "{v}" in text else ""
                body = text.replace("{v}", version) + padding
                stub.put("shop-prod", f"{version}/{key}", body.encode())

    return put


@pytest.fixture
def seed_server() -> Callable[..., None]:
    """Return a function that puts builds into the bucket of a server, with properties."""

    def put(client: Any, *versions: str) -> None:
        client.create_bucket(Bucket="shop-prod")
        for version in versions:
            for key, text in BUILD.items():
                client.put_object(
                    Bucket="shop-prod",
                    Key=f"{version}/{key}",
                    Body=text.replace("{v}", version).encode(),
                    ContentType="text/html; charset=utf-8",
                    CacheControl="no-cache",
                    Metadata={"version": version},
                    Tagging="team=a%20b",
                )

    return put


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, make_bench: Any) -> str:
    """Return the address of a real server, and let its credentials be used."""
    if request.param == "moto":
        return str(request.getfixturevalue("moto_url"))
    gateway = request.getfixturevalue("versitygw")()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.secret_key)
    return str(gateway.endpoint_url)


class StubKeyValueStore:
    """The data plane of one CloudFront KeyValueStore, with its compare-and-swap.

    Its host is the account's number before the endpoint's, which resolves nowhere.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: dict[str, str] = {}
        self.etag = 1
        #: What each request was, as (method, key, If-Match or "").
        self.asked: list[tuple[str, str, str]] = []
        self.signed: list[str] = []
        self.message = "says the test"
        #: Answers in the place of the store's own, or happens before it.
        self.faults: list[Callable[[str, str], tuple[int, str] | None]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null")
                _, _, key = unquote(self.path).partition("/keys")
                tag = self.headers.get("If-Match", "")
                store.signed.append(self.headers["Authorization"])
                store.asked.append((self.command, key.lstrip("/"), tag))
                status, answer, headers = store.answer(self.command, key.lstrip("/"), tag, body)
                sent = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(sent))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = _any  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        url = f"http://kvs.localhost:{self._server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE", url)
        resolve = socket.getaddrinfo

        def here(host: Any, *args: Any, **kwargs: Any) -> Any:
            if str(host).endswith(".kvs.localhost"):
                host = "127.0.0.1"
            return resolve(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", here)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, key: str, value: str) -> None:
        self.values[key] = value
        self.etag += 1

    def answer(
        self, method: str, key: str, tag: str, body: Any
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        for fault in self.faults:
            found = fault(method, key)
            if found is not None:
                status, code = found
                return status, {"Message": self.message}, {"x-amzn-errortype": code}
        now = f"E{self.etag}"
        if method == "POST":
            if tag != now:
                return 409, {"Message": "etag"}, {"x-amzn-errortype": "ConflictException"}
            for put in body["Puts"]:
                self.values[put["Key"]] = put["Value"]
            self.etag += 1
            return 200, {"ItemCount": len(self.values)}, {"ETag": f"E{self.etag}"}
        if not key:
            return 200, {"KvsARN": "", "Created": 0, "ItemCount": 0}, {"ETag": now}
        if key not in self.values:
            return 404, {"Message": "none"}, {"x-amzn-errortype": "ResourceNotFoundException"}
        return 200, {"Key": key, "Value": self.values[key]}, {}


@pytest.fixture
def kvs(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubKeyValueStore]:
    store = StubKeyValueStore(monkeypatch)
    yield store
    store.close()
