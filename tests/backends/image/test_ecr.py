"""ECR: host names, and passwords asked of AWS."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_backends.image.ecr.hosts import EcrHost, parse_host
from imgctl_backends.image.ecr.passwords import EcrLogins
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.wire.hosts import HostRules
from imgctl_core.errors import EndpointDenied, EndpointUnreachable
from imgctl_core.testing.httpd import Fault, HttpServer, Request, Response
from imgctl_core.testing.peers import free_port
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import MakeBench

MakeRegistry = Callable[..., Registry]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            EcrHost("123456789012", "eu-west-1", fips=False, dual_stack=False),
        ),
        (
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            EcrHost("123456789012", "us-gov-west-1", fips=True, dual_stack=False),
        ),
        (
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            EcrHost("123456789012", "cn-north-1", fips=False, dual_stack=False),
        ),
        (
            "123456789012.dkr-ecr.us-east-1.on.aws",
            EcrHost("123456789012", "us-east-1", fips=False, dual_stack=True),
        ),
        (
            "123456789012.dkr-ecr-fips.us-east-1.on.aws",
            EcrHost("123456789012", "us-east-1", fips=True, dual_stack=True),
        ),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example", None),
        ("12345678901.dkr.ecr.us-east-1.amazonaws.com", None),
        ("x123456789012.dkr.ecr.us-east-1.amazonaws.com", None),
        ("public.ecr.aws", None),
    ],
)
def test_host_names(host: str, expected: EcrHost | None) -> None:
    assert parse_host(host) == expected


def test_the_region_of_the_host_name_wins() -> None:
    def region(host: str, **fields: str) -> str:
        return EcrLogins(ImageEndpoint(registry=host, **fields), "eu-north-1").region

    named = "123456789012.dkr.ecr.ap-south-1.amazonaws.com"
    assert region(named, region="us-west-2") == "ap-south-1"
    assert region("ecr.example.com", region="us-west-2") == "us-west-2"
    assert region("ecr.example.com") == "eu-north-1"
    assert ImageSettings().ecr_region == "us-east-1"


def test_ecr_may_send_readers_to_s3_at_a_private_address() -> None:
    bucket = "https://prod-starport.s3.us-east-1.amazonaws.com/x"
    host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    assert HostRules(ImageEndpoint(registry=host)).may_be_private(bucket)
    assert not HostRules(ImageEndpoint(registry="r.example.com")).may_be_private(bucket)
    evil = "https://evilamazonaws.com/x"
    assert not HostRules(ImageEndpoint(registry=host)).may_be_private(evil)


class Aws(HttpServer):
    """As much of ECR's and STS's APIs as a login needs."""

    def __init__(self) -> None:
        super().__init__(self._handle_call)
        self.password = "first"
        self.lifetime = 12 * 3600.0
        self.asked: list[tuple[str, Any]] = []

    def _handle_call(self, request: Request) -> Response:
        body = b"".join(request.body)
        signed_by = request.headers.get("Authorization").partition("Credential=")[2].split("/")
        target = request.headers.get("X-Amz-Target")
        if target.endswith("GetAuthorizationToken"):
            self.asked.append((f"token as {signed_by[0]} in {signed_by[2]}", json.loads(body)))
            pair = base64.b64encode(f"AWS:{self.password}".encode()).decode()
            data = {"authorizationToken": pair, "expiresAt": time.time() + self.lifetime}
            return Response(200, {}, json.dumps({"authorizationData": [data]}).encode())
        if target:
            refused = b'{"__type": "AccessDeniedException", "message": "only logins here"}'
            return Response(400, {}, refused)
        self.asked.append(("role", body.decode()))
        xml = (
            "<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>"
            "<AssumeRoleResult><Credentials><AccessKeyId>ASSUMED</AccessKeyId>"
            "<SecretAccessKey>x</SecretAccessKey><SessionToken>y</SessionToken>"
            "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
            "</AssumeRoleResult></AssumeRoleResponse>"
        )
        return Response(200, {"Content-Type": "text/xml"}, xml.encode())


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Aws() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", server.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        yield server


def test_an_ecr_endpoint_promotes(
    make_bench: MakeBench, make_registry: MakeRegistry, aws: Aws
) -> None:
    dev = make_registry(auth="basic", username="AWS", password="first")
    image, prod = dev.put_image("app", "v1"), make_registry()
    bench = make_bench(dev={"registry": dev.url, "auth": "ecr"}, prod=prod.url)
    assert bench.promote("app:v1").digest == image.digest
    assert aws.asked == [("token as OURS in us-east-1", {})]


def test_region_registry_role_and_external_id(
    make_bench: MakeBench, make_registry: MakeRegistry, aws: Aws
) -> None:
    dev = make_registry(auth="basic", username="AWS", password="first")
    dev.put_image("app", "v1")
    fields = {
        "registry": dev.url,
        "auth": "ecr",
        "region": "eu-west-3",
        "registry_id": "210987654321",
        "role_arn": "arn:aws:iam::210987654321:role/promoter",
        "external_id": "customer-7",
    }
    make_bench(dev=fields, prod=make_registry().url).plan("app:v1")
    (first, role), (second, token) = aws.asked
    assert first == "role"
    assert "role%2Fpromoter" in role
    assert "ExternalId=customer-7" in role
    assert second == "token as ASSUMED in eu-west-3"
    assert token == {"registryIds": ["210987654321"]}


def test_the_profile_is_used(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    aws: Aws,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path_factory.mktemp("aws") / "credentials"
    file.write_text("[other]\naws_access_key_id = OTHER\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    dev = make_registry(auth="basic", username="AWS", password="first")
    dev.put_image("app", "v1")
    fields = {"registry": dev.url, "auth": "ecr", "profile": "other"}
    make_bench(dev=fields, prod=make_registry().url).plan("app:v1")
    assert aws.asked[0][0].startswith("token as OTHER")


EXPIRED = Response(
    403,
    {},
    b'{"errors": [{"code": "DENIED", "message": "Your authorization token has expired. '
    b'Reauthenticate and try again."}]}',
)


def test_an_expired_password_is_a_403_and_is_renewed(
    make_bench: MakeBench, make_registry: MakeRegistry, aws: Aws
) -> None:
    dev = make_registry(auth="basic", username="AWS", password="first")
    image, prod = dev.put_image("app", "v1"), make_registry()
    bench = make_bench(dev={"registry": dev.url, "auth": "ecr"}, prod=prod.url)
    bench.plan("app:v1")
    aws.password = "second"
    dev._access._login = b"AWS:second"

    def expired(request: Request) -> Fault | None:
        old = "Basic " + base64.b64encode(b"AWS:first").decode()
        return Fault(answer=EXPIRED) if request.headers.get("Authorization") == old else None

    dev.faults.append(expired)
    # The manifests are remembered, so the first to meet it is a HEAD, which tells nothing:
    # what it means is asked again, with a body.
    assert bench.promote("app:v1").digest == image.digest
    assert len(aws.asked) == 2
    assert dev.count("GET", "^/v2/$") == 1


def test_a_refusal_that_is_no_expiry_is_believed(
    make_bench: MakeBench, make_registry: MakeRegistry, aws: Aws
) -> None:
    dev = make_registry(auth="basic", username="AWS", password="first")
    dev.put_image("app", "v1")
    dev.inject(Fault(answer=Response(403)), method="HEAD", times=None)
    bench = make_bench(dev={"registry": dev.url, "auth": "ecr"}, prod=make_registry().url)
    with pytest.raises(EndpointDenied):
        bench.plan("app:v1")
    assert len(aws.asked) == 1
    assert dev.count("HEAD") == 1


def test_an_expired_password_in_the_middle_of_a_copy(
    make_bench: MakeBench, make_registry: MakeRegistry, aws: Aws
) -> None:
    dev = make_registry()
    prod = make_registry(auth="basic", username="AWS", password="first")
    image = dev.put_image("app", "v1")

    def expired(request: Request) -> Fault | None:
        if request.method != "POST" or aws.password == "second":
            return None
        aws.password, prod._access._login = "second", b"AWS:second"
        return Fault(answer=EXPIRED)

    prod.faults.append(expired)
    bench = make_bench(dev=dev.url, prod={"registry": prod.url, "auth": "ecr"})
    assert bench.promote("app:v1").digest == image.digest
    assert len(aws.asked) == 2


def test_a_password_is_renewed_before_it_ends(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dev = make_registry(auth="basic", username="AWS", password="first")
    dev.put_image("app", "v1")
    bench = make_bench(dev={"registry": dev.url, "auth": "ecr"}, prod=make_registry().url)
    now, real = [0.0], time.monotonic
    monkeypatch.setattr("imgctl_backends.image.signin.auth.time.monotonic", lambda: real() + now[0])
    bench.plan("app:v1")
    bench.plan("app:v1")
    assert len(aws.asked) == 1
    now[0] = 12 * 3600 - 200
    bench.plan("app:v1")
    assert len(aws.asked) == 2


def test_aws_refuses(make_bench: MakeBench, make_registry: MakeRegistry, aws: Aws) -> None:
    body = b'{"__type": "AccessDeniedException", "message": "no"}'
    aws.inject(Fault(answer=Response(400, {}, body)), times=None)
    bench = make_bench(dev={"registry": "http://127.0.0.1:1", "auth": "ecr"}, prod="http://x.test")
    with pytest.raises(EndpointDenied) as caught:
        bench.plan("app:v1")
    assert "AccessDeniedException" in caught.value.message
    assert "ecr:GetAuthorizationToken" in caught.value.fix


def test_there_are_no_aws_credentials(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bench = make_bench(dev={"registry": "http://127.0.0.1:1", "auth": "ecr"}, prod="http://x.test")
    with pytest.raises(EndpointDenied, match="no usable AWS credentials"):
        bench.plan("app:v1")


def test_aws_is_not_there(make_bench: MakeBench, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", f"http://127.0.0.1:{free_port()}")
    bench = make_bench(dev={"registry": "http://127.0.0.1:1", "auth": "ecr"}, prod="http://x.test")
    with pytest.raises(EndpointUnreachable, match="AWS"):
        bench.plan("app:v1")
