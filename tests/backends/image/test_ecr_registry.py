"""Against a registry with ECR's ways and its API: what only ECR does, and what it trips over."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from imgctl_backends.image.blobs.workers import Workers
from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.copy.preparing import held_blobs
from imgctl_backends.image.distribution.registry import Registry as Home
from imgctl_backends.image.distribution.repository import Repository
from imgctl_backends.image.ecr.account import EcrAccount
from imgctl_backends.image.ecr.repositories import EcrRepositories
from imgctl_backends.image.ecr.template import RepositoryTemplate
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.wire.flight import Flight
from imgctl_backends.image.wire.rates import Limits, Rates
from imgctl_core.context import Context
from imgctl_core.errors import Conflict, EndpointDenied, EndpointFailed
from imgctl_core.testing.ecr import EcrRegistry, Lag, RepositorySettings
from imgctl_core.testing.httpd import HttpServer, Request, Response
from imgctl_core.testing.images import sample_image
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

ACCOUNT = "123456789012"
TEMPLATE: dict[str, Any] = {"mutability": "IMMUTABLE"}
LIFECYCLE = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "imageCountMoreThan",
                    "countNumber": 9,
                },
                "action": {"type": "expire"},
            }
        ]
    }
)


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Iterator[EcrRegistry]:
    """Return an ECR that boto3's calls reach."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with EcrRegistry() as registry:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", registry.api_url)
        yield registry


class Roles(HttpServer):
    """An STS that lets everybody assume everything. `expires` is when that ends."""

    def __init__(self) -> None:
        super().__init__(self._assume)
        self.asked: list[bytes] = []
        self.expires = "2099-01-01T00:00:00Z"

    def _assume(self, request: Request) -> Response:
        self.asked.append(b"".join(request.body))
        xml = (
            "<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>"
            f"<AssumeRoleResult><Credentials><AccessKeyId>ASSUMED{len(self.asked)}</AccessKeyId>"
            "<SecretAccessKey>x</SecretAccessKey><SessionToken>y</SessionToken>"
            f"<Expiration>{self.expires}</Expiration></Credentials>"
            "</AssumeRoleResult></AssumeRoleResponse>"
        )
        return Response(200, {"Content-Type": "text/xml"}, xml.encode())


@pytest.fixture
def roles(monkeypatch: pytest.MonkeyPatch) -> Iterator[Roles]:
    with Roles() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        yield server


@pytest.fixture
def make(make_bench: MakeBench, dev: Registry, ecr: EcrRegistry) -> Callable[..., Bench]:
    """Return a function that makes a bench from `dev` to ECR, with fields of the endpoint."""

    def make(dev_end: dict[str, Any] | str = "", **fields: Any) -> Bench:
        return make_bench(dev=dev_end or dev.url, prod=at(ecr, **fields))

    return make


def at(ecr: EcrRegistry, prefix: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "registry": ecr.url + prefix,
        "auth": "ecr",
        "region": ecr.region,
        "registry_id": ecr.account,
        **fields,
    }


def operations(ecr: EcrRegistry) -> list[str]:
    return [call.operation for call in ecr.api_calls]


def test_presence_is_asked_in_bulk(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create("app")
    held, content = next(iter(image.all_blobs().items()))
    ecr.put_blob("app", content)
    done = make().promote("app:v1")
    assert done.digest == image.digest == ecr.tags("app")["v1"]
    assert done.plan.bytes_present == len(content)
    assert sorted(operations(ecr)[:3]) == [
        "BatchCheckLayerAvailability",
        "DescribeRepositories",
        "GetAuthorizationToken",
    ]
    assert ecr.count("PUT", f"digest={held}") == 0
    assert ecr.count("HEAD", "/blobs/") == 0
    assert ecr.api.count_calls("BatchCheckLayerAvailability") == 1


def test_a_hundred_digests_a_call(ecr: EcrRegistry) -> None:
    ecr.create("app")
    contents = [f"blob {number}".encode() for number in range(205)]
    there = set(range(0, 205, 3))
    digests = []
    for number, content in enumerate(contents):
        digest = ecr.put_blob("app" if number in there else "elsewhere", content)
        digests.append(Descriptor("x", digest, len(content)))
    home = Home(ImageEndpoint.model_validate(at(ecr)), settings := ImageSettings())
    workers = Workers(settings.jobs)
    try:
        with Flight(Context()) as flight:
            found = held_blobs(workers, flight, Repository(home, "app", push=True), digests)
    finally:
        workers.close()
        home.close()
    assert {number for number, held in enumerate(found) if held} == there
    assert ecr.api.count_calls("BatchCheckLayerAvailability") == 3
    assert ecr.count("HEAD") == 0


def test_an_unchanged_image_needs_no_call_but_the_login(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create("app")
    ecr.put_image("app", "v1", image)
    assert make().plan("app:v1").unchanged
    assert operations(ecr) == ["GetAuthorizationToken"]
    assert [(r.method, r.status) for r in ecr.requests] == [("HEAD", 200)]


@pytest.mark.parametrize("operation", ["BatchCheckLayerAvailability", "DescribeRepositories"])
def test_without_the_right_to_ask_it_is_done_without(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry, operation: str
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create("app")
    ecr.api.refuse(operation)
    bench = make()
    assert bench.promote("app:v1").digest == image.digest
    dev.put_image("app", "v2")
    bench.plan("app:v2")
    asked = ecr.api.count_calls(operation)
    assert asked == (1 if operation.startswith("Batch") else 2)


def test_a_missing_repository_is_an_error_before_any_byte(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    dev.put_image("app", "v1")
    with pytest.raises(EndpointFailed) as caught:
        make().promote("app:v1")
    assert "has no repository app" in caught.value.message
    assert "create_repositories" in caught.value.fix
    assert dev.count("GET", "/blobs/") == 0
    assert {r.method for r in ecr.requests} == {"HEAD"}
    assert "CreateRepository" not in operations(ecr)


def test_a_repository_is_created_as_the_template_says(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry, tmp_path: Path
) -> None:
    image = dev.put_image("team/app", "v1")
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"Version": "2012-10-17", "Statement": []}))
    bench = make(
        create_repositories={
            "mutability": "IMMUTABLE_WITH_EXCLUSION",
            "exclusions": ["sha256-*"],
            "kms_key": "alias/images",
            "scan_on_push": True,
            "lifecycle_policy": LIFECYCLE,
            "repository_policy": str(file),
            "tags": {"team": "red", "by": "imgctl"},
        }
    )
    plan = bench.plan("team/app:v1")
    assert ("create repository", f"{ecr.host}/team/app") == (
        plan.steps[0].action,
        plan.steps[0].subject,
    )
    assert ecr.settings("team/app") is None
    assert "CreateRepository" not in operations(ecr)
    assert bench.promote("team/app:v1").digest == image.digest
    made = ecr.settings("team/app")
    assert made is not None
    assert (made.mutability, made.exclusions) == ("IMMUTABLE_WITH_EXCLUSION", ("sha256-*",))
    assert (made.encryption_type, made.kms_key) == ("KMS", "alias/images")
    assert made.scan_on_push
    assert made.tags == {"team": "red", "by": "imgctl"}
    assert made.lifecycle_policy == LIFECYCLE
    assert made.policy == file.read_text()


def test_people_are_told_of_a_new_repository(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    dev.put_image("app", "v1")
    bench = make(create_repositories=TEMPLATE)
    plan, context = bench.plan("app:v1"), Context()
    bench.promoter.stage(plan, context)
    assert context.progress.notes == (f"the repository {ecr.host}/app was created",)
    again = Context()
    bench.promoter.stage(plan, again)
    assert again.progress.notes == ()
    assert ecr.api.count_calls("CreateRepository") == 1


def test_a_repository_that_somebody_else_makes_meanwhile(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    image = dev.put_image("app", "v1")
    bench = make(create_repositories=TEMPLATE)
    plan = bench.plan("app:v1")
    ecr.create("app")
    context = Context()
    bench.promoter.stage(plan, context)
    bench.promoter.publish(plan, context)
    assert bench.promoter.verify(plan, context) == image.digest
    assert context.progress.notes == ()


def test_two_images_of_one_new_repository(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    for tag in ("v1", "v2"):
        dev.put_image("app", tag)
    bench = make(create_repositories=TEMPLATE)
    plans = [bench.plan(f"app:{tag}") for tag in ("v1", "v2")]
    for plan in plans:
        bench.promoter.stage(plan, Context())
    assert ecr.api.count_calls("CreateRepository") == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [("AccessDeniedException", EndpointDenied), ("KmsException", EndpointFailed)],
)
def test_a_repository_that_can_not_be_created(
    make: Callable[..., Bench],
    dev: Registry,
    ecr: EcrRegistry,
    code: str,
    expected: type[Exception],
) -> None:
    dev.put_image("app", "v1")
    ecr.api.refuse("CreateRepository", code)
    with pytest.raises(expected, match=f"the repository app can't be created .*{code}"):
        make(create_repositories=TEMPLATE).promote("app:v1")
    assert dev.count("GET", "/blobs/") == 0


@pytest.mark.parametrize("refused_by", ["AWS", "boto3"])
def test_a_repository_without_its_policy_is_taken_away(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry, refused_by: str
) -> None:
    dev.put_image("app", "v1")
    policy = LIFECYCLE if refused_by == "AWS" else "{}"
    if refused_by == "AWS":
        ecr.api.refuse("PutLifecyclePolicy", "InvalidParameterException")
    bench = make(create_repositories={**TEMPLATE, "lifecycle_policy": policy})
    with pytest.raises(EndpointFailed, match=r"can't be created .*InvalidParameter"):
        bench.promote("app:v1")
    assert operations(ecr)[-1] == "DeleteRepository"


def test_a_repository_that_ecr_creates_on_push(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create_on_push = RepositorySettings(mutability="IMMUTABLE")
    assert make(create_repositories="on-push").promote("app:v1").digest == image.digest
    assert "CreateRepository" not in operations(ecr)


@pytest.mark.parametrize(
    "template",
    [
        {},
        {"mutability": "immutable"},
        {"mutability": "IMMUTABLE", "exclusions": ["x*"]},
        {"mutability": "IMMUTABLE_WITH_EXCLUSION"},
        {"mutability": "IMMUTABLE_WITH_EXCLUSION", "exclusions": ["a", "b", "c", "d", "e", "f"]},
        {"mutability": "IMMUTABLE_WITH_EXCLUSION", "exclusions": ["*a*b*"]},
        {"mutability": "IMMUTABLE_WITH_EXCLUSION", "exclusions": ["a b"]},
        {"mutability": "IMMUTABLE", "lifecycle_policy": "{"},
        {"mutability": "IMMUTABLE", "lifecycle_policy": "/no/such/file"},
        {"mutability": "IMMUTABLE", "kms": "x"},
        "yes",
    ],
)
def test_templates_that_make_no_sense(template: Any) -> None:
    with pytest.raises(ValidationError):
        ImageEndpoint(registry="r.test", auth="ecr", create_repositories=template)


def test_only_ecr_has_repositories_to_create() -> None:
    with pytest.raises(ValidationError, match="for ECR"):
        ImageEndpoint.model_validate({"registry": "r.test", "create_repositories": TEMPLATE})
    named = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
    ImageEndpoint.model_validate({"registry": named, "create_repositories": TEMPLATE})


def test_a_password_that_runs_out_in_the_middle(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create("app")
    expired: list[str] = []

    def expire(request: Request) -> None:
        if request.method == "PUT" and "/blobs/uploads/" in request.path and not expired:
            expired.append(request.path)
            ecr.expire_tokens()

    ecr.faults.append(expire)
    done = make().promote("app:v1")
    assert expired
    assert done.digest == image.digest
    assert ecr.api.count_calls("GetAuthorizationToken") == 2
    assert done.progress.bytes_copied == sum(map(len, image.all_blobs().values()))


def test_a_password_that_runs_out_between_two_heads(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry
) -> None:
    dev.put_image("app", "v1")
    ecr.create("app")
    bench = make()
    bench.plan("app:v1")
    ecr.expire_tokens()
    bench.plan("app:v1")
    assert ecr.api.count_calls("GetAuthorizationToken") == 2


def test_reading_from_ecr_goes_on_after_its_password_ran_out(
    make_bench: MakeBench, ecr: EcrRegistry, prod: Registry
) -> None:
    image = ecr.put_image("app", "v1")
    expired: list[str] = []

    def expire(request: Request) -> None:
        if "/blobs/" in request.path and not expired:
            expired.append(request.path)
            ecr.expire_tokens()

    ecr.faults.append(expire)
    bench = make_bench(dev=at(ecr), prod=prod.url)
    assert bench.promote("app:v1").digest == image.digest
    assert expired
    assert ecr.api.count_calls("GetAuthorizationToken") == 2
    assert not any("Authorization" in r.headers for r in ecr.blob_host.requests)


@pytest.mark.parametrize("same", [True, False])
def test_an_immutable_tag_put_meanwhile(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry, same: bool
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create("app", immutable=True)
    bench, context = make(), Context()
    plan = bench.plan("app:v1")
    bench.promoter.stage(plan, context)
    other: list[str] = []

    def sneak(request: Request) -> None:
        if request.method == "PUT" and request.path.endswith("/manifests/v1") and not other:
            put = ecr.put_image("app", "v1", image if same else sample_image("other"))
            other.append(put.digest)

    ecr.faults.append(sneak)
    if same:
        bench.promoter.publish(plan, context)
        assert bench.promoter.verify(plan, context) == image.digest
    else:
        with pytest.raises(Conflict, match="immutable"):
            bench.promoter.publish(plan, context)
    assert ecr.tags("app")["v1"] == other[0]


def test_a_validator_that_lags(
    make: Callable[..., Bench], dev: Registry, ecr: EcrRegistry, no_waiting: None
) -> None:
    image = dev.put_image("app", "v1")
    ecr.create("app")
    ecr.lag = Lag(looks=1)
    done = make().promote("app:v1")
    assert done.digest == image.digest
    assert done.progress.bytes_copied == sum(map(len, image.all_blobs().values()))


@pytest.mark.parametrize(
    ("enabled", "role", "mounts"),
    [(True, "", True), (False, "", False), (True, "arn:aws:iam::1:role/other", False)],
)
def test_blobs_are_mounted_where_the_account_allows_it(
    make_bench: MakeBench,
    ecr: EcrRegistry,
    roles: Roles,
    enabled: bool,
    role: str,
    mounts: bool,
) -> None:
    image = ecr.put_image("dev/app", "v1")
    ecr.create("prod/app")
    ecr.blob_mounting = enabled
    prod = at(ecr, "/prod", **({"role_arn": role} if role else {}))
    bench = make_bench(dev=at(ecr, "/dev"), prod=prod)
    done = bench.promote("app:v1")
    assert done.digest == image.digest
    size = sum(map(len, image.all_blobs().values()))
    moved = (done.progress.bytes_mounted, done.progress.bytes_copied)
    assert moved == ((size, 0) if mounts else (0, size))
    assert bool(ecr.count("POST", "mount=")) == mounts
    assert len(roles.asked) == bool(role)


def test_many_threads_ask_once_whether_mounts_work(ecr: EcrRegistry) -> None:
    ecr.blob_mounting = True
    endpoint = ImageEndpoint.model_validate(at(ecr))
    repositories = EcrRepositories(EcrAccount(endpoint, "us-east-1"), None, Limits({}))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: repositories.may_mount(), range(32)))
    assert ecr.api.count_calls("GetAccountSetting") == 1
    repositories.close()


@pytest.mark.parametrize("what", ["refused", "an old boto3"])
def test_nothing_is_mounted_where_the_setting_can_not_be_read(
    ecr: EcrRegistry, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    ecr.blob_mounting = True
    account = EcrAccount(ImageEndpoint.model_validate(at(ecr)), "us-east-1")
    if what == "refused":
        ecr.api.refuse("GetAccountSetting")
    else:
        monkeypatch.setattr(EcrAccount, "_connect", lambda self: SimpleNamespace())
    assert not EcrRepositories(account, None, Limits({})).may_mount()


def test_a_role_is_assumed_again_before_it_ends(
    ecr: EcrRegistry, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = ImageEndpoint.model_validate(at(ecr, role_arn="arn:aws:iam::1:role/promoter"))
    account = EcrAccount(endpoint, "us-east-1")
    roles.expires = "2030-01-01T01:00:00Z"
    start = 1893456000.0
    now = [start]
    monkeypatch.setattr("imgctl_backends.image.ecr.account.time.time", lambda: now[0])
    for seconds in (0.0, 3000.0, 3400.0, 3500.0):
        now[0] = start + seconds
        roles.expires = "2030-01-01T01:00:00Z" if seconds < 3400 else "2030-01-01T02:00:00Z"
        account.call("ask", lambda api: api.get_authorization_token())
    account.close()
    assert [call.access_key for call in ecr.api_calls] == [
        "ASSUMED1",
        "ASSUMED1",
        "ASSUMED2",
        "ASSUMED2",
    ]


def test_what_aws_throttles_is_asked_again_more_slowly(
    ecr: EcrRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between boto3's own attempts
    ecr.create("app")
    content = b"content"
    blob = Descriptor("x", ecr.put_blob("app", content), len(content))
    endpoint = ImageEndpoint.model_validate(at(ecr))
    limits = Rates().limits(endpoint, ImageSettings())
    repositories = EcrRepositories(EcrAccount(endpoint, "us-east-1"), None, limits)
    ecr.limits.refuse("BatchCheckLayerAvailability", 7)
    with Flight(Context()) as flight:
        assert repositories.layers(flight, "app", [blob]) == [True]
    repositories.close()
    rate = limits.rate("batch_check_layer_availability")
    assert rate is not None
    assert rate < 500


def test_a_layer_of_another_size_is_not_there(ecr: EcrRegistry) -> None:
    ecr.create("app")
    digest = ecr.put_blob("app", b"content")
    endpoint = ImageEndpoint.model_validate(at(ecr))
    repositories = EcrRepositories(EcrAccount(endpoint, "us-east-1"), None, Limits({}))
    with Flight(Context()) as flight:
        blobs = [Descriptor("x", digest, 7), Descriptor("x", digest, 8)]
        assert repositories.layers(flight, "app", blobs) == [True, False]
        assert repositories.layers(flight, "nowhere", blobs) == [False, False]
    repositories.close()


def test_the_how_to_s_settings_are_accepted() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/ecr.md").read_text("utf-8")
    blocks = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    endpoints = [
        ImageEndpoint.model_validate(environment["image"])
        for block in blocks
        for environment in block["environments"].values()
    ]
    assert len(endpoints) == 4
    assert all(endpoint.ecr for endpoint in endpoints)
    assert ImageSettings(**blocks[-1]["plugins"]["image"]).rates.put_image == 40
    keys = set(re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", page, re.MULTILINE))
    named = {key for pair in keys for key in pair if key}
    assert named == set(RepositoryTemplate.model_fields)
