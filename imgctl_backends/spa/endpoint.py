"""What an environment is for SPA builds, and the promoter's own settings."""

from __future__ import annotations

import os
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from imgctl_backends.spa.references import check_suffix
from imgctl_core import PluginModel

_OWNER: Final = re.compile(r"[0-9]{12}", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http:// or https:// address")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("has more in it than scheme, host, port and path")
    return url.rstrip("/")


def _check_owner(owner: str) -> str:
    if not _OWNER.fullmatch(owner):
        raise ValueError("is no AWS account number: twelve digits")
    return owner


def _check_region(region: str) -> str:
    if not _REGION.fullmatch(region):
        raise ValueError("is no region's name")
    return region


class SpaEndpoint(PluginModel):
    """The table `[environments.<name>.spa]`.

    `suffix` makes the bucket `<build's name>-<suffix>`. What is not given comes from
    boto3's own settings: variables, profiles, instance roles. `role_arn` (with
    `external_id`) is assumed with the credentials of `profile`. `bucket_owner` is the
    account that must own the bucket; S3 then refuses any other one, for instance a
    bucket that was deleted and registered again by somebody else.
    """

    suffix: Annotated[str, AfterValidator(check_suffix)]
    endpoint_url: Annotated[str, AfterValidator(_check_url)] | None = None
    region: Annotated[str, AfterValidator(_check_region)] | None = None
    profile: str | None = Field(default=None, min_length=1)
    role_arn: str | None = Field(default=None, min_length=20)
    external_id: str | None = Field(default=None, min_length=2)
    bucket_owner: Annotated[str, AfterValidator(_check_owner)] | None = None

    @property
    def address(self) -> str:
        """Return the S3 service that is meant, "" for AWS's own."""
        configured = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return (self.endpoint_url or configured or "").rstrip("/").lower()

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Return what decides whether one call can reach two endpoints.

        The region is not in it: S3 copies from one region to another.
        """
        return (self.address, self.profile or "", self.role_arn or "", self.external_id or "")


class SpaSettings(PluginModel):
    """The table `[plugins.spa]`.

    `copy_tags` copies object tags, which needs s3:GetObjectTagging and
    s3:PutObjectTagging. `concurrency` is the most copies in flight at once.
    """

    copy_tags: bool = True
    concurrency: int = Field(default=128, ge=1, le=250)
