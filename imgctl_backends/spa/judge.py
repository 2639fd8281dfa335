"""Says of an answer what any S3 call can say: good, once more, or an error for good."""

from __future__ import annotations

from typing import Final

from imgctl_backends.spa.answers import Refusal, read_refusal
from imgctl_backends.spa.bucket import Bucket
from imgctl_backends.spa.dispatch import Again
from imgctl_backends.spa.fastlane import Answer
from imgctl_backends.spa.faults import from_refusal

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
    raise from_refusal(status, refusal, bucket.place, action)


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
