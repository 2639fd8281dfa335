"""Against moto: logins and repositories, by the judgement of others."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from imgctl_core.errors import EndpointFailed
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

REGION = "eu-west-1"


@pytest.fixture
def api(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a client of moto's ECR, to which boto3's calls go in this test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", moto_url)
    client: Any = boto3.session.Session(region_name=REGION).client("ecr")
    yield client
    client.close()


@pytest.fixture
def prod(api: Any, make_registry: Callable[..., Registry]) -> Registry:
    """Return a registry that takes the password that moto gives out."""
    data = api.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    _, _, password = base64.b64decode(data).decode().partition(":")
    return make_registry(auth="basic", username="AWS", password=password)


@pytest.fixture
def make(make_bench: MakeBench, dev: Registry, prod: Registry) -> Callable[..., Bench]:
    def make(**fields: Any) -> Bench:
        end = {"registry": prod.url, "auth": "ecr", "region": REGION, **fields}
        return make_bench(dev=dev.url, prod=end)

    return make


def test_a_repository_that_exists(make: Callable[..., Bench], dev: Registry, api: Any) -> None:
    image = dev.put_image("app", "v1")
    api.create_repository(repositoryName="app")
    assert make().promote("app:v1").digest == image.digest


def test_a_missing_repository_is_refused(
    make: Callable[..., Bench], dev: Registry, prod: Registry
) -> None:
    dev.put_image("app", "v1")
    with pytest.raises(EndpointFailed, match="has no repository app"):
        make().promote("app:v1")
    assert prod.count("POST") == prod.count("PUT") == 0


def test_a_missing_repository_is_created(
    make: Callable[..., Bench], dev: Registry, api: Any
) -> None:
    image = dev.put_image("app", "v1")
    rule = {
        "rulePriority": 1,
        "selection": {
            "tagStatus": "untagged",
            "countType": "imageCountMoreThan",
            "countNumber": 9,
        },
        "action": {"type": "expire"},
    }
    statement = {
        "Sid": "pull",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["ecr:BatchGetImage"],
    }
    template = {
        "mutability": "IMMUTABLE",
        "kms_key": "arn:aws:kms:eu-west-1:123456789012:key/1234",
        "scan_on_push": True,
        "lifecycle_policy": json.dumps({"rules": [rule]}),
        "repository_policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        "tags": {"team": "red"},
    }
    bench = make(create_repositories=template)
    assert bench.plan("app:v1").steps[0].action == "create repository"
    assert api.describe_repositories()["repositories"] == []
    assert bench.promote("app:v1").digest == image.digest
    (made,) = api.describe_repositories()["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"] == {
        "encryptionType": "KMS",
        "kmsKey": template["kms_key"],
    }
    tags = api.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "red"}]
    lifecycle = api.get_lifecycle_policy(repositoryName="app")["lifecyclePolicyText"]
    assert json.loads(lifecycle) == {"rules": [rule]}
    policy = api.get_repository_policy(repositoryName="app")["policyText"]
    assert json.loads(policy)["Statement"] == [statement]
