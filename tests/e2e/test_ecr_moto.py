"""ECR by moto's judgement, through the real command line: password, repository, template."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import boto3

from imgctl_core.testing.images import sample_image
from imgctl_core.testing.registry import Registry

REGION = "eu-west-1"


def test_a_missing_repository_is_made_at_moto_and_its_password_opens_the_registry(
    stack: Any, moto_url: str, tmp_path: Path
) -> None:
    session = boto3.session.Session("OURS", "aws-secret", region_name=REGION)
    api: Any = session.client("ecr", endpoint_url=moto_url)
    data = api.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    password = base64.b64decode(data).decode().partition(":")[2]
    config = tmp_path / "imgctl.toml"
    with Registry() as dev, Registry(auth="basic", username="AWS", password=password) as prod:
        image = dev.put_image("app", "v1", sample_image("moto"))
        config.write_text(
            f"""
            [environments.dev.image]
            registry = "{dev.url}"
            [environments.prod.image]
            registry = "{prod.url}"
            auth = "ecr"
            region = "{REGION}"
            [environments.prod.image.create_repositories]
            mutability = "IMMUTABLE"
            """
        )
        stack.start(
            IMGCTL_CONFIG=str(config),
            AWS_ENDPOINT_URL_ECR=moto_url,
            AWS_ACCESS_KEY_ID="OURS",
            AWS_SECRET_ACCESS_KEY="aws-secret",
        )
        first = stack.promote("app:v1")
        assert first.code == 0, first.err
        assert prod.tags("app")["v1"] == image.digest
        again = stack.promote("app:v1")
        assert again.out.startswith("unchanged app:v1 to prod")
    (made,) = api.describe_repositories()["repositories"]
    api.close()
    assert (made["repositoryName"], made["imageTagMutability"]) == ("app", "IMMUTABLE")
    assert password not in stack.log + first.out + first.err
