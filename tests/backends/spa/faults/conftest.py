"""Two real S3 servers behind a faulty line, a build in them, and what must hold at its other end.

Neither versitygw nor moto refuses a copy onto what is there (If-None-Match and If-Match on
CopyObject), and moto does not look at x-amz-copy-source-if-match, nor at If-Match where an upload
ends. S3 does all of that, so `Guards` stands in for it on the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from imgctl_backends.spa.endpoint import SpaEndpoint, SpaSettings
from imgctl_backends.spa.promoter import SpaPromoter
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context, PromotionItem
from imgctl_core.errors import ImgctlError
from imgctl_core.testing.faultproxy import HttpFaultProxy
from imgctl_core.testing.httpd import Fault, Injected, Request, Response
from imgctl_core.testing.peers import VersityGateway
from imgctl_core.testing.sites import Site, SiteFile, sample_site

ACCESS, SECRET = "imgctltestaccess", "imgctltestsecret"
#: The least that may be set: what is larger goes in parts.
LIMIT = 5 * 1024**2
#: Tries without the waiting, and not much waiting for answers.
PATIENCE = Patience(base=0.001, longest=0.01, silence=0.4, rate=10**9, dead=5.0)

LARGE = "assets/app-5e6f7a8b.wasm"
SMALL_SITE = sample_site()
#: The same with a file that goes in two parts.
LARGE_SITE = Site(
    {**SMALL_SITE.files, LARGE: SiteFile(bytes(LIMIT) + b"end", "application/wasm")},
    SMALL_SITE.entry_points,
)
Files = Mapping[str, SiteFile]
SITES = {"v1": SMALL_SITE, "v2": LARGE_SITE}


def error(status: int, code: str, message: str = "it is not well", extra: str = "") -> Response:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>"
    return Response(status, {"Content-Type": "application/xml"}, text.encode())


class Guards:
    """What S3 refuses and the server behind the line does not.

    Looks at what is there for copies that were tried before, and for all when `busy`:
    when others write at the same time.
    """

    def __init__(self, client: Any, *, most: bool) -> None:
        self.busy = False
        self._client = client
        self._most = most
        self._tried: set[str] = set()

    def begin(self) -> None:
        self.busy = False
        self._tried.clear()

    def __call__(self, request: Request) -> Fault | None:
        source = request.headers.get("x-amz-copy-source")
        ends = self._most and request.method == "POST" and "if-match" in request.headers
        if not ends and (request.method != "PUT" or not source):
            return None
        if not self.busy and request.target not in self._tried:
            self._tried.add(request.target)
            return None
        wanted = request.headers.get("x-amz-copy-source-if-match")
        if self._most and wanted and self._tag(source) != wanted:
            return self._refused("x-amz-copy-source-If-Match")
        if "partNumber" in request.target:
            return None
        there = self._tag(request.path)
        if there and "if-none-match" in request.headers:
            return self._refused("If-None-Match")
        if request.headers.get("if-match", there) != there:
            return self._refused("If-Match")
        return None

    def _tag(self, path: str) -> str:
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        try:
            return str(self._client.head_object(Bucket=bucket, Key=key)["ETag"])
        except ClientError:
            return ""

    def _refused(self, condition: str) -> Fault:
        extra = f"<Condition>{condition}</Condition>"
        return Fault(answer=error(412, "PreconditionFailed", extra=extra))


@dataclass
class Line:
    """A server with a build in two versions, the line to it, and a promoter that lasts."""

    client: Any
    proxy: HttpFaultProxy
    guards: Guards
    sites: Mapping[str, Site]
    promoters: list[SpaPromoter] = field(default_factory=list)

    def promoter(
        self,
        *,
        fresh: bool = False,
        dev: Mapping[str, Any] | None = None,
        prod: Mapping[str, Any] | None = None,
    ) -> SpaPromoter:
        """Return one that served all cases before, as a server's does, or a new one."""
        if fresh or not self.promoters:
            ends = {"dev": dev or {}, "prod": prod or {}}
            promoter = SpaPromoter(
                SpaSettings(single_copy_limit=LIMIT),
                {
                    name: SpaEndpoint.model_validate(
                        {"suffix": name, "endpoint_url": self.proxy.url, **end}
                    )
                    for name, end in ends.items()
                },
            )
            promoter.patience = PATIENCE
            self.promoters.append(promoter)
        return self.promoters[0 if not fresh else -1]

    def promote(self, version: str, promoter: SpaPromoter, *, replace: bool = False) -> None:
        """Promote as the engine does."""
        ref = promoter.parse(f"shop:{version}")
        item = PromotionItem(f"spa:shop:{version}", ref, "dev", "prod", replace)
        context = Context()
        plan = promoter.plan(item, context)
        if not plan.unchanged:
            promoter.stage(plan, context)
            promoter.publish(plan, context)
            assert promoter.verify(plan, context) == plan.digest

    def refuses(self, version: str, promoter: SpaPromoter, *, replace: bool = False) -> ImgctlError:
        """Promote, and return the error that comes of it: for people, and without a secret."""
        with pytest.raises(ImgctlError) as caught:
            self.promote(version, promoter, replace=replace)
        text = f"{caught.value.message} {caught.value.fix}"
        assert caught.value.message
        assert "\n" not in text
        assert not re.search(r"Traceback|<Error>|object at 0x", text), text
        assert SECRET not in text
        return caught.value

    def check(self, version: str, *, whole: bool = False, changed: Files | None = None) -> None:
        """Hold the destination against what a browser would ask it for.

        `changed` are files that the source has in place of the build's.
        """
        site, held = SITES[version], self.held(version)
        site = Site({**site.files, **(changed or {})}, site.entry_points)
        assert site.flaws({key: file.body for key, file in held.items()}) == []
        if whole:
            assert held == dict(site.files)

    def put(self, bucket: str, key: str, file: SiteFile) -> None:
        self.client.put_object(
            Bucket=bucket,
            Key=key,
            Body=file.body,
            ContentType=file.content_type,
            CacheControl=file.cache_control,
            Metadata={"size": str(len(file.body))},
        )

    def held(self, version: str) -> dict[str, SiteFile]:
        """Return what is at the destination, with its properties."""
        rows = self.client.list_objects_v2(Bucket="shop-prod", Prefix=f"{version}/")
        found = {}
        for row in rows.get("Contents", []):
            got = self.client.get_object(Bucket="shop-prod", Key=row["Key"])
            body = got["Body"].read()
            assert got["Metadata"] == {"size": str(len(body))}
            file = SiteFile(body, got["ContentType"], got["CacheControl"])
            found[row["Key"].removeprefix(f"{version}/")] = file
        return found

    def clear(self) -> None:
        """Empty the destination and mend the line."""
        self.guards.begin()
        self.mend()
        rows = self.client.list_objects_v2(Bucket="shop-prod").get("Contents", [])
        if rows:
            keys = [{"Key": row["Key"]} for row in rows]
            self.client.delete_objects(Bucket="shop-prod", Delete={"Objects": keys})
        for upload in self.uploads():
            self.client.abort_multipart_upload(**upload)

    def uploads(self) -> list[dict[str, str]]:
        """Return the multipart uploads that nobody ended."""
        found = self.client.list_multipart_uploads(Bucket="shop-prod").get("Uploads", [])
        return [{"Bucket": "shop-prod", "Key": u["Key"], "UploadId": u["UploadId"]} for u in found]

    def inject(
        self,
        fault: Fault,
        methods: Sequence[str],
        pattern: str,
        times: int | None = None,
        skip: int = 0,
    ) -> Injected:
        """Let a fault strike calls, before the guards look at them."""
        struck = [Injected(fault, method, pattern, times, skip) for method in methods]
        self.proxy.faults[:0] = struck
        return struck[0]

    def mend(self) -> None:
        self.proxy.faults[:] = [self.guards]


@contextmanager
def line_to(url: str, *, most: bool) -> Iterator[Line]:
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    session = boto3.session.Session(ACCESS, SECRET, region_name="us-east-1")
    client: Any = session.client("s3", endpoint_url=url, config=config)
    for name in ("dev", "prod"):
        client.create_bucket(Bucket=f"shop-{name}")
    with HttpFaultProxy(url, timeout=20) as proxy:
        line = Line(client, proxy, Guards(client, most=most), SITES)
        for version, site in SITES.items():
            for key, file in site.files.items():
                line.put("shop-dev", f"{version}/{key}", file)
        yield line
        for promoter in line.promoters:
            promoter.close()
    for name in ("dev", "prod"):  # moto is a whole process's
        for row in client.list_objects_v2(Bucket=f"shop-{name}").get("Contents", []):
            client.delete_object(Bucket=f"shop-{name}", Key=row["Key"])
        client.delete_bucket(Bucket=f"shop-{name}")
    client.close()


@pytest.fixture(scope="module")
def versitygw_line(
    peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Line]:
    gateway = VersityGateway(peer("versitygw"), tmp_path_factory.mktemp("versitygw"))
    with gateway, line_to(gateway.endpoint_url, most=False) as line:
        yield line


@pytest.fixture(scope="module")
def moto_line(moto_server: str) -> Iterator[Line]:
    with line_to(moto_server, most=True) as line:
        yield line


@pytest.fixture
def line(
    where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # boto3 waits between its tries at the first look.
    backoff = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(backoff, lambda *_: 0)
    line: Line = request.getfixturevalue(f"{where}_line")
    line.clear()
    yield line
    line.mend()


@pytest.fixture
def fail() -> Callable[..., Response]:
    return error
