"""Three S3 servers: a stub that keeps every rule and breaks them on demand, moto, versitygw."""

from __future__ import annotations

import base64
import hashlib
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote, urlsplit
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.config import Config

from imgctl_backends.spa.endpoint import SpaEndpoint, SpaSettings
from imgctl_backends.spa.promoter import SpaPromoter
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context, Plan, PromotionItem


@dataclass
class Stored:
    body: bytes
    etag: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """A request as the stub got it. `key` is decoded, `raw` the path as sent."""

    method: str
    raw: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def copies(self) -> bool:
        return self.method == "PUT" and "x-amz-copy-source" in self.headers


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: Closes the connection without a word.
    reset: bool = False


Fault = Callable[[Asked], Reply | None]


def error(status: int, code: str, message: str = "", extra: str = "") -> Reply:
    text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message>{extra}</Error>"
    return Reply(status, text.encode())


class StubS3:
    """S3 as the API reference says it: guards, codes, url-encoded lists, byte order."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.owner = "111122223333"
        self.page_size = 1000
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.order: Callable[[str], Any] = str.encode
        self.kms = False
        self.odd_tags = False
        self._lock = threading.Lock()
        self._writes = 0
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body go apart: 40 ms an answer

            def _any(self) -> None:
                parts = urlsplit(self.path)
                bucket, _, key = unquote(parts.path.lstrip("/")).partition("/")
                length = int(self.headers.get("Content-Length") or 0)
                asked = Asked(
                    self.command,
                    parts.path,
                    bucket,
                    key,
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                )
                reply = stub.answer(asked)
                if reply.reset:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _any  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *args: object) -> None:
                pass  # clients that leave are part of the tests

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, bucket: str, key: str, body: bytes, **headers: str) -> None:
        self.buckets.setdefault(bucket, {})[key] = self._stored(body, headers)

    def copied(self) -> list[str]:
        """Return the keys of all copies asked for, in order."""
        return [asked.key for asked in self.asked if asked.copies]

    def writes(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method in ("PUT", "POST", "DELETE")]

    def answer(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            faults = list(self.faults)
        for fault in faults:
            reply = fault(asked)
            if reply is not None:
                return reply
        with self._lock:
            return self._answer(asked)

    def _stored(self, body: bytes, headers: Mapping[str, str]) -> Stored:
        self._writes += 1
        etag = hashlib.md5(body).hexdigest()
        if self.kms:  # looks like an MD5 and is none
            etag = hashlib.md5(f"{self._writes}".encode()).hexdigest()
        if self.odd_tags:
            etag = f"write-{self._writes}"
        return Stored(body, etag, dict(headers))

    def _answer(self, asked: Asked) -> Reply:
        if asked.bucket not in self.buckets:
            return error(404, "NoSuchBucket", "The specified bucket does not exist")
        if asked.headers.get("x-amz-expected-bucket-owner", self.owner) != self.owner:
            return error(403, "AccessDenied", "Access Denied")
        if not asked.key:
            return self._list(asked)
        if asked.copies:
            return self._copy(asked)
        if asked.method == "PUT":
            refused = self._condition(asked)
            if refused:
                return refused
            kept = {k: v for k, v in asked.headers.items() if k.startswith("x-amz-meta-")}
            kept |= {
                k: v for k, v in asked.headers.items() if k in ("content-type", "cache-control")
            }
            self.buckets[asked.bucket][asked.key] = self._stored(asked.body, kept)
            return Reply(headers={"ETag": f'"{self.buckets[asked.bucket][asked.key].etag}"'})
        return self._read(asked)

    def _read(self, asked: Asked) -> Reply:
        found = self.buckets[asked.bucket].get(asked.key)
        if found is None:
            return error(404, "NoSuchKey")
        if asked.headers.get("if-match", f'"{found.etag}"') != f'"{found.etag}"':
            return error(412, "PreconditionFailed")
        if "tagging" in asked.query:
            return Reply(body=b"<Tagging><TagSet/></Tagging>")
        headers = {"ETag": f'"{found.etag}"', **found.headers}
        if self.kms:
            value = base64.b64encode(zlib.crc32(found.body).to_bytes(4, "big")).decode()
            headers |= {"x-amz-checksum-crc32": value, "x-amz-checksum-type": "FULL_OBJECT"}
        headers["Content-Length"] = str(len(found.body))
        return Reply(body=found.body, headers=headers)

    def _condition(self, asked: Asked) -> Reply | None:
        there = self.buckets[asked.bucket].get(asked.key)
        if asked.headers.get("if-none-match") == "*" and there is not None:
            return error(412, "PreconditionFailed", extra="<Condition>If-None-Match</Condition>")
        wanted = asked.headers.get("if-match")
        if wanted and (there is None or wanted != f'"{there.etag}"'):
            return error(412, "PreconditionFailed", extra="<Condition>If-Match</Condition>")
        return None

    def _copy(self, asked: Asked) -> Reply:
        bucket, _, key = unquote(asked.headers["x-amz-copy-source"].lstrip("/")).partition("/")
        found = self.buckets.get(bucket, {}).get(key)
        if found is None:
            return error(404, "NoSuchKey")
        if asked.headers.get("x-amz-source-expected-bucket-owner", self.owner) != self.owner:
            return error(403, "AccessDenied", "Access Denied")
        wanted = asked.headers.get("x-amz-copy-source-if-match", f'"{found.etag}"')
        if wanted != f'"{found.etag}"':
            condition = "<Condition>x-amz-copy-source-If-Match</Condition>"
            return error(412, "PreconditionFailed", extra=condition)
        refused = self._condition(asked)
        if refused:
            return refused
        new = self._stored(found.body, found.headers)
        self.buckets[asked.bucket][asked.key] = new
        return Reply(
            body=f"<CopyObjectResult><ETag>&#34;{new.etag}&#34;</ETag></CopyObjectResult>".encode()
        )

    def _list(self, asked: Asked) -> Reply:
        prefix, after = asked.query.get("prefix", ""), asked.query.get("start-after", "")
        if "continuation-token" in asked.query:
            after = bytes.fromhex(asked.query["continuation-token"]).decode()
        held = (k for k in self.buckets[asked.bucket] if k.startswith(prefix))
        keys = sorted(held, key=self.order)
        keys = [key for key in keys if not after or self.order(key) > self.order(after)]
        size = min(self.page_size, int(asked.query.get("max-keys", 1000)))
        shown, more = keys[:size], keys[size:]
        encoded = asked.query.get("encoding-type") == "url"
        rows = "".join(
            f"<Contents><Key>{quote_plus(key, safe='/') if encoded else escape(key)}</Key>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{found.etag}&quot;</ETag><Size>{len(found.body)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in shown
            for found in [self.buckets[asked.bucket][key]]
        )
        token = ""
        if more:
            token = f"<NextContinuationToken>{shown[-1].encode().hex()}</NextContinuationToken>"
        kind = "<EncodingType>url</EncodingType>" if encoded else ""
        return Reply(
            body=(
                '<?xml version="1.0" encoding="UTF-8"?>'
                '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"{kind}<IsTruncated>{str(bool(more)).lower()}</IsTruncated>{token}{rows}"
                "</ListBucketResult>"
            ).encode()
        )


@pytest.fixture
def stub() -> Iterator[StubS3]:
    stub = StubS3()
    stub.buckets = {"shop-dev": {}, "shop-prod": {}}
    yield stub
    stub.close()


#: Retries without the waiting.
HASTY = Patience(base=0.001, longest=0.01, silence=5.0, dead=5.0)


@dataclass
class Bench:
    """A promoter, and the steps of a promotion as the engine takes them."""

    promoter: SpaPromoter

    def item(self, ref: str = "shop:v1", *, replace: bool = False) -> PromotionItem:
        return PromotionItem(f"spa:{ref}", self.promoter.parse(ref), "dev", "prod", replace)

    def plan(self, ref: str = "shop:v1", *, replace: bool = False) -> Plan:
        return self.promoter.plan(self.item(ref, replace=replace), Context())

    def plan_in(self, context: Context, ref: str = "shop:v1") -> Plan:
        return self.promoter.plan(self.item(ref), context)

    def promote(
        self, ref: str = "shop:v1", *, replace: bool = False, context: Context | None = None
    ) -> Plan:
        context = context or Context()
        plan = self.promoter.plan(self.item(ref, replace=replace), context)
        if not plan.unchanged:
            self.promoter.stage(plan, context)
            self.promoter.publish(plan, context)
            assert self.promoter.verify(plan, context) == plan.digest
        return plan


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBench]:
    """Return a function that makes a promoter with two endpoints."""
    made: list[SpaPromoter] = []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "imgctltestaccess")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "imgctltestsecret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    def make(
        url: str = "",
        *,
        dev: Mapping[str, Any] | None = None,
        prod: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        patience: Patience = HASTY,
    ) -> Bench:
        common = {"endpoint_url": url} if url else {}
        promoter = SpaPromoter(
            SpaSettings(**(settings or {})),
            {
                "dev": SpaEndpoint.model_validate({"suffix": "dev", **common, **(dev or {})}),
                "prod": SpaEndpoint.model_validate({"suffix": "prod", **common, **(prod or {})}),
            },
        )
        promoter.patience = patience
        made.append(promoter)
        return Bench(promoter)

    yield make
    for promoter in made:
        promoter.close()


@pytest.fixture
def bench(stub: StubS3, make_bench: MakeBench) -> Bench:
    """Return a promoter whose two endpoints are the stub."""
    return make_bench(stub.url)


@pytest.fixture
def fail() -> Callable[..., Reply]:
    return error


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def hasty() -> Patience:
    return HASTY


@pytest.fixture
def make_client(make_bench: MakeBench) -> Callable[..., Any]:
    """Return a function that makes a plain boto3 client: the view from outside."""

    def make(url: str, ca: str | None = None) -> Any:
        config = Config(
            s3={"addressing_style": "path"},
            # versitygw keeps the encoding that checksums behind a body come in.
            request_checksum_calculation="when_required",
        )
        return boto3.session.Session().client("s3", endpoint_url=url, config=config, verify=ca)

    return make
