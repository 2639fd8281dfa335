"""What an environment is for SPA builds, and the promoter's own settings."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from imgctl_backends.spa.live.settings import Live
from imgctl_backends.spa.references import check_suffix
from imgctl_core import PluginModel

_OWNER: Final = re.compile(r"[0-9]{12}", re.ASCII)
#: A key's id, an alias, or either one's ARN.
_KMS_KEY: Final = re.compile(
    r"(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/|alias/)?[A-Za-z0-9/_-]{1,250}", re.ASCII
)
#: Bytes: what one CopyObject takes, and what all parts but the last must have (API
#: reference, CopyObject and UploadPartCopy: 5 GB and 5 MB).
_SINGLE_COPY: Final = 5 * 1024**3
_LEAST_PART: Final = 5 * 1024**2
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


def _check_kms_key(key: str) -> str:
    if not _KMS_KEY.fullmatch(key):
        raise ValueError("is no KMS key: give its id, its alias or its ARN")
    return key


def _check_pattern(pattern: str) -> str:
    if not pattern or pattern.startswith("/") or len(pattern) > 200:
        raise ValueError("is no pattern of a key below the version, such as config/*.json")
    return pattern


class SpaEndpoint(PluginModel):
    """The table `[environments.<name>.spa]`.

    `suffix` makes the bucket `<build's name>-<suffix>`. What is not given comes from
    boto3's own settings: variables, profiles, instance roles. `role_arn` (with
    `external_id`) is assumed with the credentials of `profile`. `bucket_owner` is the
    account that must own the bucket; S3 then refuses any other one, for instance a
    bucket that was deleted and registered again by somebody else.

    What is written there gets `kms_key` (with `bucket_key`, which spares S3 most of its
    calls to KMS) and `acl`; without them the bucket's own defaults hold, and no ACL is
    sent. `path_style` says whether the bucket's name goes into the path; by default it
    does for every service but AWS's own.

    `live` says how versions go live there; without it none can.
    """

    suffix: Annotated[str, AfterValidator(check_suffix)]
    endpoint_url: Annotated[str, AfterValidator(_check_url)] | None = None
    region: Annotated[str, AfterValidator(_check_region)] | None = None
    profile: str | None = Field(default=None, min_length=1)
    role_arn: str | None = Field(default=None, min_length=20)
    external_id: str | None = Field(default=None, min_length=2)
    bucket_owner: Annotated[str, AfterValidator(_check_owner)] | None = None
    path_style: bool | None = None
    kms_key: Annotated[str, AfterValidator(_check_kms_key)] | None = None
    bucket_key: bool = True
    acl: Literal["bucket-owner-full-control", "private", "public-read"] | None = None
    live: Live | None = None

    @model_validator(mode="after")
    def _check_bucket_key(self) -> SpaEndpoint:
        if "bucket_key" in self.model_fields_set and self.kms_key is None:
            raise ValueError("bucket_key does nothing without kms_key")
        return self

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

    @property
    def connection(self) -> tuple[object, ...]:
        """Return what decides whether two endpoints can share connections."""
        return (*self.identity, self.region or "", self.path_style)

    @property
    def writing(self) -> dict[str, Any]:
        """Return the boto3 arguments that every write there has."""
        arguments: dict[str, Any] = {}
        if self.kms_key:
            arguments |= {
                "ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": self.kms_key,
                "BucketKeyEnabled": self.bucket_key,
            }
        return {**arguments, "ACL": self.acl} if self.acl else arguments


class SpaSettings(PluginModel):
    """The table `[plugins.spa]`.

    `copy_tags` copies object tags, which needs s3:GetObjectTagging and
    s3:PutObjectTagging. `concurrency` is the most copies in flight at once for one
    version, `copies_per_second` the most that begin; what S3 takes may be less, and is
    found out. `single_copy_limit` is how many bytes go in one copy: larger files are
    copied in parts of at most so many bytes. `entry_points` are patterns of further files
    that go with the entry points.
    """

    copy_tags: bool = True
    concurrency: int = Field(default=250, ge=1, le=250)
    copies_per_second: int = Field(default=3500, ge=1, le=100_000)
    single_copy_limit: int = Field(default=_SINGLE_COPY, ge=_LEAST_PART, le=_SINGLE_COPY)
    entry_points: tuple[Annotated[str, AfterValidator(_check_pattern)], ...] = ()
