"""What live means in an environment: the table `[environments.<name>.spa.live]`."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from imgctl_core import PluginModel

_ARN: Final = re.compile(r"arn:aws:cloudfront::[0-9]{12}:key-value-store/[A-Za-z0-9-]{1,64}")
_DISTRIBUTION: Final = re.compile(r"[A-Z0-9]{5,32}", re.ASCII)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_LONGEST_KEY: Final = 1024
# CloudFront quota on a key's length, less `.previous`.
_LONGEST_KVS_KEY: Final = 512 - len(".previous")

Mode = Literal["root", "pointer", "cloudfront-kvs"]

_OBJECTS: Final[dict[Mode, str]] = {"pointer": "current.json", "root": ".imgctl/live.json"}
_ONLY: Final[dict[str, tuple[Mode, ...]]] = {
    "object": ("root", "pointer"),
    "copy": ("root",),
    "elsewhere": ("root",),
    "kvs_arn": ("cloudfront-kvs",),
    "kvs_key": ("cloudfront-kvs",),
    "distribution": ("root", "pointer"),
    "invalidate_wait_seconds": ("root", "pointer"),
}


def _check_object(key: str) -> str:
    parts = key.split("/")
    if not key or key.startswith("/") or key.endswith("/"):
        raise ValueError("is no object's key: it is empty, or begins or ends with '/'")
    if any(part in (".", "..", "") for part in parts):
        raise ValueError("has '.', '..' or nothing as a part")
    if _CONTROL.search(key) or len(key.encode("utf-8", "surrogatepass")) > _LONGEST_KEY:
        raise ValueError("has control characters in it, or is longer than 1,024 bytes")
    if len(parts) > 1 and parts[0][0].isalnum() and parts[0][0].isascii():
        raise ValueError(
            f"is below {parts[0]}/, which may be a version: put it at the bucket's top, or "
            "below a folder whose name begins with '.' or '_'"
        )
    return key


def _check_arn(arn: str) -> str:
    if not _ARN.fullmatch(arn):
        raise ValueError(
            "is no key value store's ARN: arn:aws:cloudfront::<account>:key-value-store/<id>"
        )
    return arn


def _check_kvs_key(key: str) -> str:
    if not key or _CONTROL.search(key) or len(key.encode("utf-8")) > _LONGEST_KVS_KEY:
        raise ValueError(f"is no key: one has 1 to {_LONGEST_KVS_KEY} bytes, none of them control")
    return key


def _check_distribution(distribution: str) -> str:
    if not _DISTRIBUTION.fullmatch(distribution):
        raise ValueError("is no distribution's id, such as E1A2B3C4D5E6F7")
    return distribution


def _check_pattern(pattern: str) -> str:
    if not pattern.startswith("/") or len(pattern) > 200:
        raise ValueError("is no pattern of a path, such as /api/*")
    return pattern


class Live(PluginModel):
    """How a version goes live.

    `object` is the pointer, or in mode `root` the object in which imgctl keeps what is
    live. `copy` says what mode `root` brings to the bucket's root; `elsewhere` are
    patterns of paths that something else than the bucket serves, which its pages may name.
    `distribution` is the CloudFront distribution whose caches must forget what was
    switched, `invalidate_wait_seconds` how long that is waited for where it is asked for.
    """

    mode: Mode
    object: Annotated[str, AfterValidator(_check_object)] | None = None
    files: Literal["entry-points", "all"] = Field(default="entry-points", alias="copy")
    elsewhere: tuple[Annotated[str, AfterValidator(_check_pattern)], ...] = ()
    kvs_arn: Annotated[str, AfterValidator(_check_arn)] | None = None
    kvs_key: Annotated[str, AfterValidator(_check_kvs_key)] = "live"
    distribution: Annotated[str, AfterValidator(_check_distribution)] | None = None
    invalidate_wait_seconds: int = Field(default=600, ge=1, le=3600)

    @model_validator(mode="after")
    def _check_mode(self) -> Live:
        given = {"copy" if name == "files" else name for name in self.model_fields_set}
        for name, modes in _ONLY.items():
            if name in given and self.mode not in modes:
                raise ValueError(
                    f'{name} does nothing with mode = "{self.mode}"; it belongs to '
                    + " and ".join(f'"{mode}"' for mode in modes)
                )
        if self.mode == "cloudfront-kvs" and self.kvs_arn is None:
            raise ValueError('mode = "cloudfront-kvs" needs kvs_arn')
        if "invalidate_wait_seconds" in given and self.distribution is None:
            raise ValueError("invalidate_wait_seconds does nothing without distribution")
        return self

    @property
    def key(self) -> str:
        """Return the key of the object that says what is live."""
        return self.object or _OBJECTS[self.mode]
