"""Says of an answer what any S3 call can say: good, once more, or an error for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from imgctl_backends.spa.wire.answers import Refusal, Unreadable, read_refusal
from imgctl_backends.spa.wire.bucket import Bucket
from imgctl_backends.spa.wire.dispatch import Again
from imgctl_backends.spa.wire.fastlane import Answer
from imgctl_backends.spa.wire.faults import changed_source, from_refusal, missing_bucket
from imgctl_backends.spa.wire.renewing import EXPIRED
from imgctl_core.errors import ImgctlError

T = TypeVar("T")

# Exhausted retries of the client itself arrive under these names, without a status.
_SLOW_DOWN: Final = frozenset({"AWS_ERROR_S3_SLOW_DOWN"})
_FAILED: Final = frozenset({"AWS_ERROR_S3_INTERNAL_ERROR"})
_SKEWED: Final = frozenset({"AWS_ERROR_S3_REQUEST_TIME_TOO_SKEWED"})
_TIMED_OUT: Final = frozenset({"AWS_ERROR_S3_CANCELED", "AWS_ERROR_S3_REQUEST_TIMEOUT"})

_THROTTLING: Final = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
)
_PASSING: Final = frozenset(
    {
        "InternalError",
        "ServiceUnavailable",
        "RequestTimeout",
        "OperationAborted",
        "ConditionalRequestConflict",
    }
)


def check(answer: Answer, bucket: Bucket, action: str) -> None:
    """Return when the call succeeded as far as its status and error body say.

    Raises:
        Again: it may succeed when made once more.
        ImgctlError: it never will.
    """
    if answer.status is None:
        _check_silence(answer, bucket, action)
    refusal = read_refusal(answer.body) if answer.error or _may_be_error(answer) else Refusal()
    if not answer.error and not refusal.code and answer.status in (200, 204):
        return
    status = answer.status or 0
    why = " ".join(str(part) for part in (status, refusal.code, refusal.message) if part)
    if status in (429, 503) or refusal.code in _THROTTLING:
        raise Again(why, throttled=True)
    if refusal.code in _PASSING or status in (408, 409, 500, 502, 504):
        raise Again(why)
    error = from_refusal(status, refusal, bucket.place, action)
    if refusal.code in EXPIRED:
        raise Again(why, at_once=True, expired=error)
    raise error


def understood(read: Callable[[bytes], T], answer: Answer) -> T:
    """Return what a body says.

    Raises:
        Again: it is not what S3 sends.
    """
    try:
        return read(answer.body)
    except Unreadable as error:
        raise Again(str(error)) from error


def gone(answer: Answer, source: Bucket, destination: Bucket, key: str) -> ImgctlError:
    """Return the error for a copy's 404: a bucket went away, or what was to be copied."""
    refusal = read_refusal(answer.body)
    if refusal.code != "NoSuchBucket":
        return changed_source(source.place, key)
    here = refusal.bucket == source.place.bucket != destination.place.bucket
    return missing_bucket(source.place if here else destination.place)


def _check_silence(answer: Answer, bucket: Bucket, action: str) -> None:
    if answer.error in _SLOW_DOWN:
        raise Again("it keeps answering SlowDown", throttled=True)
    if answer.error in _FAILED:
        raise Again("it keeps answering InternalError")
    if answer.error in _SKEWED:
        raise from_refusal(403, Refusal("RequestTimeTooSkewed"), bucket.place, action)
    if answer.error in _TIMED_OUT:
        raise Again("it did not answer in time", silent=True)
    raise Again(f"the connection failed ({answer.error})", silent=True)


def _may_be_error(answer: Answer) -> bool:
    return b"<Error>" in answer.body[:500]
