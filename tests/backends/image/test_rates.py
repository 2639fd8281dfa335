"""Rates by action: buckets by an own clock, and a storm of 429 over the wire."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.rate_table import ACTIONS, ECR_RATES
from imgctl_backends.image.wire.rates import RECOVERY_SECONDS, Bucket, Limits, Rates, actions_of
from imgctl_core.context import CancelToken, Context
from imgctl_core.errors import Cancelled, DeadlineExceeded
from imgctl_core.testing.httpd import Fault, Response
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import MakeBench

#: ECR's default quotas, calls a second for an account in a region.
QUOTAS = {
    "put_image": 10,
    "initiate_layer_upload": 100,
    "upload_layer_part": 500,
    "complete_layer_upload": 100,
    "batch_check_layer_availability": 1000,
    "batch_get_image": 2000,
    "get_download_url_for_layer": 3000,
    "get_authorization_token": 500,
}


class Time:
    """A clock that goes on when somebody waits. Also the flight that they wait in."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def check(self) -> None:
        return

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        # A clock never wakes anybody too early.
        self.now += seconds + 1e-9


@pytest.fixture
def time() -> Time:
    return Time()


def sent_in(seconds: float, limits: Limits, time: Time) -> int:
    """Count the calls that are let go within a time by somebody who never stops asking."""
    end, count = time.now + seconds, 0
    while limits.pace(time, ("put_image",)) < end:
        count += 1
    return count


@pytest.mark.parametrize("quota", [10, 100, 3000, 1])
def test_within_a_second_never_more_than_the_quota(time: Time, quota: int) -> None:
    limits = Limits({"put_image": Bucket(quota * 0.8, time)}, time)
    time.now += 3600
    assert quota * 0.8 - 1 <= sent_in(1.0, limits, time) <= quota


def test_in_the_long_run_the_rate_holds(time: Time) -> None:
    limits = Limits({"put_image": Bucket(8, time)}, time)
    assert 8 * 60 <= sent_in(60.0, limits, time) <= 8 * 60 + 2


def test_a_rate_below_one_a_second(time: Time) -> None:
    limits = Limits({"put_image": Bucket(0.1, time)}, time)
    assert sent_in(50.0, limits, time) in (5, 6)


def test_a_429_halves_and_the_rate_comes_back_slowly(time: Time) -> None:
    bucket = Bucket(8, time)
    bucket.throttled(time.now)
    assert bucket.rate == 4
    assert bucket.take() > 0
    time.now += RECOVERY_SECONDS / 4
    assert bucket.rate == pytest.approx(6)
    time.now += RECOVERY_SECONDS
    assert bucket.rate == 8


def test_calls_under_way_at_the_first_429_count_once(time: Time) -> None:
    bucket, sent = Bucket(8, time), time.now - 0.5
    for _ in range(20):
        bucket.throttled(sent)
        sent += 0.01
    assert bucket.rate == 8
    bucket.throttled(time.now)
    for _ in range(20):
        bucket.throttled(time.now - 0.1)
    assert bucket.rate == 4


def test_something_is_left_after_any_storm(time: Time) -> None:
    bucket = Bucket(8, time)
    for _ in range(100):
        bucket.throttled(time.now)
    assert bucket.rate == 0.5


def test_other_actions_do_not_wait(time: Time) -> None:
    limits = Limits({"put_image": Bucket(1, time), "batch_get_image": Bucket(1000, time)}, time)
    before = time.now
    for _ in range(100):
        limits.pace(time, ("batch_get_image",))
        limits.pace(time, ())
        limits.pace(time, ("initiate_layer_upload",))
    assert time.now == before


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (Context(deadline=0.0), DeadlineExceeded),
        (Context(cancel=CancelToken()), Cancelled),
    ],
)
def test_a_wait_ends_with_the_promotion(context: Context, expected: type[Exception]) -> None:
    limits = Limits({"put_image": Bucket(0.001)})
    waiting, errors = threading.Event(), []

    def wait() -> None:
        with Flight(context) as flight:
            limits.pace(flight, ("put_image",))
            waiting.set()
            try:
                limits.pace(flight, ("put_image",))
            except Exception as error:
                errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(10)
    if expected is Cancelled:
        context.cancel.cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [expected]


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("PUT", "a/b/manifests/v1", True, ("put_image",)),
        ("GET", "a/b/manifests/v1", False, ("batch_get_image",)),
        ("HEAD", "a/b/manifests/v1", False, ("batch_get_image",)),
        ("HEAD", "a/b/blobs/sha256:0", False, ("batch_check_layer_availability",)),
        ("GET", "a/b/blobs/sha256:0", False, ("get_download_url_for_layer",)),
        ("POST", "a/b/blobs/uploads/?mount=x&from=y", False, ("initiate_layer_upload",)),
        ("PATCH", "a/b/blobs/uploads/1?s=t", True, ("upload_layer_part",)),
        ("PUT", "a/b/blobs/uploads/1?digest=x", False, ("complete_layer_upload",)),
        (
            "PUT",
            "a/b/blobs/uploads/1?digest=x",
            True,
            ("upload_layer_part", "complete_layer_upload"),
        ),
        ("DELETE", "a/b/blobs/uploads/1", False, ()),
        ("GET", "a/b/tags/list", False, ()),
        ("GET", "", False, ()),
    ],
)
def test_what_a_call_counts_as(
    method: str, path: str, body: bool, expected: tuple[str, ...]
) -> None:
    assert actions_of(method, f"https://r.example.com/v2/{path}", body=body) == expected


def limits(registry: str, settings: dict[str, Any] | None = None, **fields: Any) -> Limits:
    endpoint = ImageEndpoint(registry=registry, **fields)
    return Rates().limits(endpoint, ImageSettings(rates=settings or {}))


ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def test_ecr_has_limits_below_its_quotas_and_others_have_none() -> None:
    assert set(ECR_RATES) == set(ACTIONS) == set(QUOTAS)
    assert {action: limits(ECR).rate(action) for action in ACTIONS} == {
        action: quota * 0.8 for action, quota in QUOTAS.items()
    }
    assert limits("r.example.com", auth="ecr").rate("put_image") == 8
    assert {limits("r.example.com").rate(action) for action in ACTIONS} == {None}


def test_settings_and_endpoints_say_otherwise() -> None:
    said = {"put_image": 40, "batch_get_image": 0}
    assert limits(ECR, said).rate("put_image") == 40
    assert limits(ECR, said).rate("batch_get_image") is None
    assert limits(ECR, said).rate("initiate_layer_upload") == 80
    assert limits(ECR, said, rates={"put_image": 4}).rate("put_image") == 4
    assert limits("r.example.com", said).rate("put_image") is None
    assert limits("r.example.com", rates={"put_image": 5}).rate("put_image") == 5


def test_one_account_and_region_have_one_limit_under_every_name(time: Time) -> None:
    rates, settings = Rates(time), ImageSettings()

    def at(host: str, **fields: Any) -> Limits:
        return rates.limits(ImageEndpoint(registry=host, **fields), settings)

    one = at(ECR)
    for other in (at(f"{ECR}/team"), at("123456789012.dkr-ecr.eu-west-1.on.aws")):
        before = other.rate("put_image")
        one.throttled(("put_image",), time.now)
        assert before is not None
        assert other.rate("put_image") == before / 2
        time.now += 1e-3
    apart = at("123456789012.dkr.ecr.eu-west-2.amazonaws.com")
    assert apart.rate("put_image") == 8
    lower = at(ECR, rates={"put_image": 1})
    assert lower.rate("put_image") == one.rate("put_image") == 1


def test_a_storm_of_429_ends_in_success(
    make_bench: MakeBench, make_registry: Callable[..., Registry], no_waiting: None
) -> None:
    dev, prod = make_registry(), make_registry()
    image = dev.put_image("app", "v1")
    storm = Fault(answer=Response(429, {}, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}'))
    prod.inject(storm, method="POST", pattern="/blobs/uploads/", times=3)
    prod.inject(storm, method="PUT", pattern="/blobs/uploads/", times=2)
    prod.inject(storm, method="PUT", pattern="/manifests/", times=2)
    rates = dict.fromkeys(("initiate_layer_upload", "put_image", "complete_layer_upload"), 1000)
    bench = make_bench(dev=dev.url, prod={"registry": prod.url, "rates": rates})
    assert bench.promote("app:v1").digest == image.digest
    engine: Any = bench.promoter._engine()
    learned = engine._registries["prod"].limits
    for action in ("initiate_layer_upload", "put_image", "complete_layer_upload"):
        assert learned.rate(action) < 800
    assert learned.rate("batch_get_image") is None


def test_promotions_share_their_limits(
    make_bench: MakeBench, make_registry: Callable[..., Registry]
) -> None:
    dev, prod = make_registry(), make_registry()
    dev.put_image("app", "v1")
    limited = {"registry": f"{prod.url}/one", "rates": {"put_image": 50}}
    other = {"registry": f"{prod.url}/two", "rates": {"put_image": 50}}
    bench = make_bench(dev=dev.url, prod=limited, other=other)
    bench.promote("app:v1")
    bench.promote("app:v1", destination="other")
    engine: Any = bench.promoter._engine()
    homes = engine._registries
    homes["prod"].limits.throttled(("put_image",), float("inf"))
    assert homes["other"].limits.rate("put_image") < 30


def test_the_reference_tells_the_defaults() -> None:
    page = Path(__file__).parents[3] / "docs/reference/settings.md"
    section = page.read_text("utf-8").split("### Rates of calls")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", section, re.MULTILINE)
    assert {action: float(rate) for action, rate in rows} == ECR_RATES


def test_asking_for_passwords_is_paced(
    make_bench: MakeBench, make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    dev = make_registry(auth="basic", username="bob", password="pw")
    dev.put_image("app", "v1")
    (file := tmp_path / "password").write_text("pw")
    end = {
        "registry": dev.url,
        "username": "bob",
        "password_file": file,
        "rates": {"get_authorization_token": 1},
    }
    bench = make_bench(dev=end, prod=make_registry().url)
    bench.plan("app:v1")
    engine: Any = bench.promoter._engine()
    bucket = engine._registries["dev"].limits._buckets["get_authorization_token"]
    assert bucket.take() > 0
