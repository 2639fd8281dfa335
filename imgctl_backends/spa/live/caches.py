"""CloudFront's caches in front of a bucket, which must forget what was switched."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from imgctl_backends.spa.live.cloud import told
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context
from imgctl_core.errors import Cancelled, DeadlineExceeded, ImgctlError

_BUSY: Final = frozenset({"TooManyInvalidationsInProgress", "Throttling", "ThrottlingException"})


@dataclass(frozen=True, slots=True)
class Started:
    """What became of the request to forget: an invalidation's id, or why there is none."""

    id: str = ""
    error: ImgctlError | None = None


class Caches:
    """The caches of one distribution. `client` makes the client when it is needed."""

    def __init__(
        self, client: Callable[[], Any], distribution: str, environment: str, patience: Patience
    ) -> None:
        self._client = client
        self._distribution = distribution
        self._environment = environment
        self._patience = patience

    def start(self, paths: Sequence[str], reference: str, context: Context) -> Started:
        """Ask the caches to forget. The same reference again means the same invalidation.

        Raises nothing: what goes wrong here changes nothing about what is live.
        """
        context.progress.say("asking CloudFront's caches to forget")
        try:
            return Started(self._start(paths, reference, context))
        except ImgctlError as error:
            return Started(error=error)

    def finish(self, started: Started, live: str, within: float | None, context: Context) -> None:
        """Wait for an invalidation for `within` seconds, or not at all for None.

        `live` is what is live now. A cancel ends the waiting, and nothing else.

        Raises:
            ImgctlError: waiting was asked for, and caches may still be old.
        """
        error = started.error
        if error is None and within is not None:
            context.progress.say(f"waiting for CloudFront's invalidation {started.id}")
            try:
                self._wait(started.id, within, context)
                return
            except ImgctlError as failed:
                error = failed
        if error is None:
            context.progress.note(
                f"CloudFront's invalidation {started.id} of {self._distribution} was started: "
                "until it ends, in some minutes, caches may give people the version before"
            )
            return
        if within is not None and not isinstance(error, Cancelled):
            raise type(error)(
                f"{live} is live, but CloudFront's caches may be old: {error.message}",
                fix=_advice(error),
            ) from error
        context.progress.note(
            f"{live} is live, but CloudFront's caches may be old: {error.message}; {_advice(error)}"
        )

    def _start(self, paths: Sequence[str], reference: str, context: Context) -> str:
        batch = {
            "Paths": {"Quantity": len(paths), "Items": list(paths)},
            "CallerReference": reference,
        }
        failures = 0
        while True:
            try:
                with told(str(self), "cloudfront:CreateInvalidation"):
                    answer = self._client().create_invalidation(
                        DistributionId=self._distribution, InvalidationBatch=batch
                    )
                return str(answer["Invalidation"]["Id"])
            except ImgctlError as error:
                failures += 1
                if not _is_busy(error) or failures >= self._patience.throttled:
                    raise
                _pause(self._patience.delay(failures), context)

    def _wait(self, id: str, within: float, context: Context) -> None:
        until = time.monotonic() + within
        if context.deadline is not None:
            until = min(until, context.deadline)
        looks = 0
        while True:
            with told(str(self), "cloudfront:GetInvalidation"):
                answer = self._client().get_invalidation(DistributionId=self._distribution, Id=id)
            if str(answer["Invalidation"]["Status"]).casefold() == "completed":
                return
            left = until - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(
                    f"its invalidation {id} of {self._distribution} has not ended in time"
                )
            looks += 1
            _pause(min(left, self._patience.delay(looks)), context)

    def __str__(self) -> str:
        return f"CloudFront's distribution {self._distribution} (environment {self._environment})"


def _is_busy(error: ImgctlError) -> bool:
    cause = error.__cause__
    return isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") in _BUSY


def _pause(seconds: float, context: Context) -> None:
    """Wait; a cancel ends it.

    Raises:
        Cancelled: it did.
    """
    if context.cancel.wait(seconds):
        raise Cancelled(context.cancel.why)


def _advice(error: ImgctlError) -> str:
    again = "the same command with --wait makes a new invalidation"
    return f"{error.fix}; {again}" if error.fix else again
