"""Turns what S3 and boto3 say into imgctl's errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from botocore import exceptions as boto

from imgctl_backends.spa.references import Place
from imgctl_backends.spa.wire.answers import Refusal, plain
from imgctl_backends.spa.wire.renewing import EXPIRED
from imgctl_core.errors import (
    ArtifactNotFound,
    Conflict,
    EndpointDenied,
    EndpointFailed,
    EndpointNotFound,
    EndpointUnreachable,
    ImgctlError,
    InvalidSetting,
)

_REGION_CODES: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
# Also inside a 200, whose status says nothing.
_DENIED_CODES: Final = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem"})
_KEY_CODES: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", *EXPIRED}
)
# As S3 words it since 2024: principal, action, resource, and which policy is in the way.
_WHO_WHAT_WHERE: Final = re.compile(
    r"(?:User: )?(?P<principal>arn:[^ ]+) is not authorized to perform: (?P<action>[^ ]+)"
    r' on resource: "?(?P<resource>arn:[^ "]+)"?'
)
_UNREACHABLE: Final = (
    boto.EndpointConnectionError,
    boto.ConnectionError,
    boto.HTTPClientError,
)
_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.LoginError,
    boto.MetadataRetrievalError,
    boto.RefreshWithMFAUnsupportedError,
)
_SETTINGS: Final = (
    boto.ProfileNotFound,
    boto.ConfigNotFound,
    boto.ConfigParseError,
    boto.InvalidConfigError,
    boto.InvalidRegionError,
    boto.NoRegionError,
    boto.InvalidEndpointConfigurationError,
)


def from_sdk(error: Exception, place: Place, action: str) -> ImgctlError:
    """Return the error to raise for one that boto3 raised during `action`."""
    if isinstance(error, boto.ClientError):
        said = error.response.get("Error", {})
        refusal = Refusal(plain(str(said.get("Code", ""))), plain(str(said.get("Message", ""))))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if error.operation_name.startswith("AssumeRole"):
            return EndpointDenied(
                f"the role for {place} can't be assumed: {refusal.message or refusal.code}",
                fix="check role_arn and external_id, and the role's trust policy",
            )
        return from_refusal(status, refusal, place, action)
    text = plain(str(error))
    if isinstance(error, _NO_CREDENTIALS):
        return EndpointDenied(
            f"there are no usable AWS credentials for {place}: {text}",
            fix="give the server credentials as boto3 takes them, or set profile or role_arn",
        )
    if isinstance(error, _SETTINGS):
        return InvalidSetting(f"the AWS settings for {place} can't be used: {text}")
    if isinstance(error, boto.SSLError):
        return EndpointUnreachable(
            f"{place} can't be reached: {text}",
            fix="check the endpoint's certificate, and AWS_CA_BUNDLE for a private authority",
        )
    if isinstance(error, _UNREACHABLE):
        return unreachable(place, text)
    return EndpointFailed(f"{action} failed at {place}: {text}")


def unreachable(place: Place, why: str) -> EndpointUnreachable:
    return EndpointUnreachable(
        f"{place} can't be reached: {why}",
        fix="check that the S3 endpoint is up and that the server can reach it, then try again",
    )


def from_refusal(status: int, refusal: Refusal, place: Place, action: str) -> ImgctlError:
    """Return the error to raise for an answer that no retry would change.

    `action` is S3's name of what was tried, with its key when there is one; S3 itself
    names principal, action and resource in the message of most denials.
    """
    said = refusal.message or refusal.code or f"HTTP status {status}"
    code = f" ({refusal.code})" if refusal.code and refusal.code != said else ""
    if refusal.code == "NoSuchBucket":
        return missing_bucket(place)
    if refusal.code == "RequestTimeTooSkewed":
        return EndpointFailed(
            f"{place} refused {action}: the server's clock is wrong",
            fix="set the clock of the machine that imgctl's server runs on",
        )
    if refusal.code in _REGION_CODES or status in (301, 307):
        return EndpointFailed(
            f"{place} is in another region than the one that was asked: {said}{code}",
            fix=f"set region in [environments.{place.environment}.spa]",
        )
    if refusal.code in _KEY_CODES:
        return EndpointDenied(
            f"{place} refused the server's credentials at {action}: {said}{code}",
            fix="check the AWS credentials that imgctl's server runs with",
        )
    if status in (401, 403) or refusal.code in _DENIED_CODES:
        return EndpointDenied(f"{place} refused {action}: {said}{code}", fix=_allow(said))
    if refusal.code == "AccessControlListNotSupported":
        return EndpointFailed(
            f"{place} takes no ACLs: its owner owns every object in it",
            fix=f"take acl out of [environments.{place.environment}.spa]",
        )
    return EndpointFailed(f"{place} refused {action}: {said}{code}")


def _allow(said: str) -> str:
    found = _WHO_WHAT_WHERE.search(said)
    if found is None:
        return "allow that action to the server's AWS identity, and check bucket_owner if set"
    return f"allow {found['action']} on {found['resource']} to {found['principal']}"


def all_of(failures: Sequence[tuple[str, ImgctlError]], what: str = "files") -> ImgctlError:
    """Return one error for all the calls that failed, each with what it was about."""
    subject, first = failures[0]
    if len(failures) == 1:
        return first
    others = ", ".join(repr(name[:200]) for name, _ in failures[1:4])
    more = len(failures) - 4
    return type(first)(
        f"{len(failures)} {what} failed: {subject!r}, since {first.message}; also {others}"
        + (f" and {more} more" if more > 0 else ""),
        fix=first.fix,
    )


def missing_bucket(place: Place) -> ImgctlError:
    if place.role == "source":
        return ArtifactNotFound(
            f"there is no such SPA build in {place.environment}: "
            f"the bucket {place.bucket} does not exist",
            fix="check the build's name and the source environment",
        )
    return EndpointNotFound(
        f"{place.environment} has no bucket {place.bucket} for this SPA build",
        fix="create that bucket, or check the build's name",
    )


def changed(place: Place, key: str) -> ImgctlError:
    """Return the error for an object that is not what it was when it was listed."""
    return (
        taken_by_another(place, key) if place.role == "destination" else changed_source(place, key)
    )


def taken_by_another(place: Place, key: str) -> Conflict:
    return Conflict(
        f"somebody else wrote {key!r} in {place.url} during the promotion",
        fix="see who else publishes there, then run the same command again",
    )


def changed_source(place: Place, key: str) -> EndpointFailed:
    return EndpointFailed(
        f"the source changed during the promotion: {key!r} in {place.url} is not what was planned",
        fix="publish a build under a version once, and run the same command again",
    )
