"""References, bucket names and keys: what may stand in them, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from imgctl_core import ArtifactRef
from imgctl_core.errors import EndpointFailed, InvalidReference, InvalidSetting

KIND: Final = "spa"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", re.ASCII)

# The rules of the S3 user guide, page "General purpose bucket naming rules".
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9]+(\.[0-9]+){3}", re.ASCII)
_BAD_STARTS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_BAD_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")

_LONGEST_KEY: Final = 1024
# Some servers take a backslash for a slash.
_DOTS: Final = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\]|\Z)")
# Surrogates are no characters: nothing can be sent under such a name.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """One version's home: a bucket and the prefix in it, which always ends in `/`.

    `v0.1.4/` can't match what belongs to v0.1.42.
    """

    role: str
    environment: str
    bucket: str
    prefix: str
    owner: str = ""

    def __str__(self) -> str:
        return f"the {self.role} bucket {self.bucket} (environment {self.environment})"

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def parse(text: str) -> ArtifactRef:
    """Parse `<name>:<version>`.

    Raises:
        InvalidReference: it is none.
    """
    name, colon, version = text.partition(":")
    shown = f"spa:{text[:200]}"
    if not colon or not version:
        raise InvalidReference(
            f"{shown!a} names no version", fix="write spa:<name>:<version>, as in spa:shop:v1.4.2"
        )
    _check_name(name, shown)
    if not is_version(version):
        raise InvalidReference(
            f"{shown!a} has no valid version in it: a version begins with a letter or digit "
            "and holds letters, digits, '.', '_', '+' and '-', at most 128 of them",
            fix="write spa:<name>:<version>, as in spa:shop:v1.4.2",
        )
    return ArtifactRef(KIND, name, version)


def parse_name(text: str) -> ArtifactRef:
    """Parse `<name>`, where no version is named.

    Raises:
        InvalidReference: it is no build's name.
    """
    _check_name(text, f"spa:{text[:200]}")
    return ArtifactRef(KIND, text)


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None


def _check_name(name: str, shown: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidReference(
            f"{shown!a} has no valid name in it: a name is lower-case letters, digits and '-'",
            fix="write spa:<name>:<version>, as in spa:shop:v1.4.2",
        )


def check_suffix(suffix: str) -> str:
    """Return the suffix, if some bucket name can end in `-<suffix>`.

    Raises:
        ValueError: none can.
    """
    problem = _bucket_problem(f"a-{suffix}")
    if problem:
        raise ValueError(f"no bucket name can end in -{suffix[:80]}: {problem}")
    return suffix


def bucket_name(name: str, suffix: str) -> str:
    """Return the bucket that holds a build in the environment with this suffix.

    Raises:
        InvalidReference: S3 would not take it for a bucket's name.
        InvalidSetting: no build has a bucket under this suffix.
    """
    bucket = f"{name}-{suffix}"
    problem = _bucket_problem(bucket)
    if not problem:
        return bucket
    if _bucket_problem(f"a-{suffix}"):
        raise InvalidSetting(f"{suffix!r} is no bucket suffix: {problem}")
    raise InvalidReference(
        f"spa:{name} can't have a bucket: {bucket!r} {problem}", fix="use another name"
    )


def _bucket_problem(bucket: str) -> str:
    if len(bucket) > 63:
        return "is longer than 63 characters"
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or _ADDRESS.fullmatch(bucket):
        return "is not made of lower-case letters, digits, '-' and single dots"
    if bucket.startswith(_BAD_STARTS) or bucket.endswith(_BAD_ENDS):
        return "begins or ends with something that S3 keeps to itself"
    return ""


def relative_key(key: str, place: Place) -> str:
    """Return a listed key relative to its version.

    Whoever can write to the source bucket chooses its keys, so none is trusted: S3 takes
    `..` for a name, while proxies and S3-like servers take it for the folder above.

    Raises:
        EndpointFailed: the key is not one that we copy.
    """
    relative = key.removeprefix(place.prefix)
    if not key.startswith(place.prefix):
        problem = f"it is not under {place.prefix}"
    elif _DOTS.search(relative) or ("%" in relative and _DOTS.search(unquote(relative))):
        problem = "it has '.' or '..' as a part"
    elif _CONTROL.search(key):
        problem = "it has control characters in it"
    elif len(key) * 4 > _LONGEST_KEY < len(key.encode("utf-8", "surrogatepass")):
        problem = "it is longer than 1,024 bytes"
    else:
        return relative
    raise EndpointFailed(
        f"{place} lists the key {key[:200]!a}, which is refused: {problem}",
        fix=f"rename or remove that object at the {place.role}",
    )
