"""Whoever promotes an SPA build is killed a hundred times, and no page is ever broken.

Kills are drawn, with a fixed seed, over all the requests of a promotion, a third each over
what is read, assets and entry points. Half of them strike before S3 has the request, half
when it has carried it out and nobody hears the answer. After each, an entry point that is
there is whole, and so is all that it names; and the same promotion goes on from there.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from imgctl_core.audit import verify
from imgctl_core.testing.faultproxy import HttpFaultProxy
from imgctl_core.testing.httpd import Fault, Request, RequestRecord
from imgctl_core.testing.sites import SiteFile, sample_site

KILLS, SERVER_KILLS = 90, 10
#: 54 assets and a logo, and five entry points: sixty files.
SITE = sample_site(54)
MOMENTS = ("reading", "assets", "entry points")


def moment(request: Request | RequestRecord) -> str:
    bucket, _, key = request.path.lstrip("/").partition("/v1/")
    if request.method == "GET" or bucket == "shop-dev":
        return "reading"
    return "entry points" if key in SITE.entry_points else "assets"


@dataclass
class Killer:
    """Kills a process at its n-th request of a kind: before S3 has it, or when it has done it.

    What is killed before sends nothing that comes later, either.
    """

    victim: Future[int] = field(default_factory=Future)
    when: str = ""
    number: int = 0
    before: bool = False
    armed: bool = False
    seen: Counter[str] = field(default_factory=Counter)
    strikes: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def spare(self) -> None:
        """Let the next promotion live."""
        self.victim, self.when, self.seen, self.armed = Future(), "", Counter(), True

    def arm(self, rng: random.Random, most: Counter[str]) -> None:
        """Choose a request among those of a kind that the next promotion makes."""
        self.spare()
        self.when = rng.choice([when for when in MOMENTS if most[when] > 0])
        self.number, self.before = rng.randint(1, most[self.when]), rng.random() < 0.5

    def comes(self, request: Request) -> Fault | None:
        """See a request that has come."""
        if not self.before:
            return None
        self._strike(request)
        return None if self.armed else Fault(drop=True)

    def goes(self, record: RequestRecord) -> None:
        """See a request that was carried out, and whose answer is about to go."""
        if not self.before:
            self._strike(record)

    def _strike(self, request: Request | RequestRecord) -> None:
        when = moment(request)
        with self._lock:
            self.seen[when] += 1
            if not self.armed or self.when != when or self.seen[when] < self.number:
                return
            self.armed = False
        os.kill(self.victim.result(20), signal.SIGKILL)
        self.strikes[when] += 1


@dataclass
class Shop:
    """The two buckets, the line to them, and who kills on it."""

    url: str
    client: Any
    killer: Killer

    def held(self) -> dict[str, bytes]:
        """Return what is at the destination; what is not whole as something else."""
        rows = self.client.list_objects_v2(Bucket="shop-prod").get("Contents", [])
        found = {row["Key"].removeprefix("v1/"): row["ETag"].strip('"') for row in rows}
        whole = {key: hashlib.md5(file.body).hexdigest() for key, file in SITE.files.items()}
        return {
            key: SITE.files[key].body if tag == whole[key] else b"?" for key, tag in found.items()
        }

    def left(self, usual: Counter[str]) -> Counter[str]:
        """Return how many requests are left of those that a whole promotion makes."""
        held = self.held().keys()
        entries = len(held & SITE.entry_points)
        return usual - Counter({"assets": len(held) - entries, "entry points": entries})

    def clear(self) -> None:
        keys = [{"Key": f"v1/{key}"} for key in SITE.files]
        self.client.delete_objects(Bucket="shop-prod", Delete={"Objects": keys})

    def check_equal(self) -> None:
        """Read everything back, bytes and properties."""

        def get(key: str) -> SiteFile:
            got = self.client.get_object(Bucket="shop-prod", Key=f"v1/{key}")
            return SiteFile(got["Body"].read(), got["ContentType"], got["CacheControl"])

        with ThreadPoolExecutor(4) as pool:
            found = dict(zip(SITE.files, pool.map(get, SITE.files), strict=True))
        assert found == dict(SITE.files)
        assert len(self.held()) == len(SITE.files)


@pytest.fixture
def shop(versitygw: Callable[[], Any]) -> Iterator[Shop]:
    gateway = versitygw()
    session = boto3.session.Session(gateway.access_key, gateway.secret_key, region_name="us-east-1")
    config = Config(request_checksum_calculation="when_required")
    client: Any = session.client("s3", endpoint_url=gateway.endpoint_url, config=config)
    for suffix in ("dev", "prod"):
        client.create_bucket(Bucket=f"shop-{suffix}")
    for key, file in SITE.files.items():
        client.put_object(
            Bucket="shop-dev",
            Key=f"v1/{key}",
            Body=file.body,
            ContentType=file.content_type,
            CacheControl=file.cache_control,
        )
    killer = Killer()
    with HttpFaultProxy(gateway.endpoint_url) as proxy:
        proxy.faults.append(killer.comes)
        proxy.on_request = killer.goes
        yield Shop(proxy.url, client, killer)


@pytest.fixture
def keys(shop: Shop) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_S3": shop.url,
        "AWS_ACCESS_KEY_ID": "imgctltestaccess",
        "AWS_SECRET_ACCESS_KEY": "imgctltestsecret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture
def promoting(shop: Shop, keys: dict[str, str]) -> Iterator[Callable[[], int]]:
    """Return a function that promotes in a new process and tells how that ended."""
    script = Path(__file__).with_name("promoting.py")
    with subprocess.Popen(
        [sys.executable, "-W", "error", script, shop.url, "shop:v1"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **keys},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        source, sink = process.stdout, process.stdin

        def promote() -> int:
            sink.write("\n")
            sink.flush()
            shop.killer.victim.set_result(int(source.readline()))
            return int(source.readline())

        yield promote
        sink.close()


def test_a_promotion_that_is_killed_at_any_moment(shop: Shop, promoting: Callable[[], int]) -> None:
    rng, killer = random.Random(20261125), shop.killer
    killer.spare()
    assert promoting() == 0
    usual = Counter(killer.seen)
    shop.clear()
    while killer.strikes.total() < KILLS:
        killer.arm(rng, shop.left(usual))
        code = promoting()
        held = shop.held()
        assert SITE.flaws(held) == [], killer
        if killer.armed:
            assert code == 0
            assert held == {key: file.body for key, file in SITE.files.items()}
            shop.clear()
        else:
            assert code == -signal.SIGKILL
            if rng.random() < 0.3:
                shop.clear()  # begin anew, or all of them would be near the end
    assert min(killer.strikes[when] for when in MOMENTS) >= 5
    killer.spare()
    assert promoting() == 0
    shop.check_equal()


def test_a_server_that_is_killed_at_any_moment(
    stack: Any, shop: Shop, keys: dict[str, str]
) -> None:
    rng, killer = random.Random(20261126), shop.killer
    settings = {**keys, "IMGCTL_SPA_DEV": "dev", "IMGCTL_SPA_PROD": "prod"}
    stack.start(**settings)
    killer.spare()
    assert stack.promote("spa:shop:v1").code == 0
    usual = Counter(killer.seen)
    shop.clear()
    while killer.strikes.total() < SERVER_KILLS:
        killer.arm(rng, shop.left(usual))
        killer.victim.set_result(stack.process.pid)
        done = stack.promote("spa:shop:v1")
        assert SITE.flaws(shop.held()) == [], killer
        if killer.armed:
            assert done.code == 0, done.err
            shop.check_equal()
            shop.clear()
        else:
            assert done.code != 0
            assert "Traceback" not in done.err
            stack.process.kill()
            stack.start(**settings)
    killer.spare()
    done = stack.promote("spa:shop:v1", "-o", "json")
    assert done.code == 0, done.err
    shop.check_equal()
    assert verify(stack.audit_log).problems == ()
