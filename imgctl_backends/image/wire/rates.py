"""How fast a registry is called, action by action, and what is learned from a 429.

A registry counts calls by action, for an account in a region; one limit for all of them
would make the many harmless calls wait for the few that are scarce. Each action has a
token bucket, shared by every promotion of the server. A 429 halves its rate; from then
on the rate comes back slowly, by the clock.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

from imgctl_backends.image.ecr.hosts import parse_host
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_backends.image.wire.rate_table import ECR_RATES, Action

#: Seconds in which a rate comes back from nothing to all of it.
RECOVERY_SECONDS: Final = 60.0

#: However many 429 come, this part of the rate is left.
_LEAST: Final = 1 / 16

#: A bucket holds this part of a second's calls, but one at least.
_BURST: Final = 1 / 4

_PATH: Final = re.compile(r"/v2/.+/(?P<kind>manifests|blobs)/(?P<rest>.+)")

Clock = Callable[[], float]
Place = tuple[str, str, str]


class Pausing(Protocol):
    """What a wait asks whether it may go on: a flight."""

    def check(self) -> None: ...
    def pause(self, seconds: float) -> None: ...


class Bucket:
    """One action's tokens. Safe to share between threads; `now` gives seconds."""

    def __init__(self, rate: float, now: Clock = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._full = self._rate = rate
        self._tokens = max(1.0, rate * _BURST)
        self._at = self._cut_at = now()

    @property
    def rate(self) -> float:
        """Return the calls a second that it lets through now."""
        with self._lock:
            self._refill()
            return self._rate

    def lower(self, rate: float) -> None:
        """Let no more than this through: somebody else knows a lower limit."""
        with self._lock:
            self._refill()
            self._full = min(self._full, rate)
            self._rate = min(self._rate, rate)

    def take(self) -> float:
        """Take a token and return 0.0; or return in how many seconds to ask again."""
        with self._lock:
            self._refill()
            if self._tokens >= 1.0:
                self._tokens -= 1.0
                return 0.0
            return (1.0 - self._tokens) / self._rate

    def throttled(self, sent: float) -> None:
        """Learn that a call sent at that time was one too many.

        Calls that were under way at the last cut tell nothing new.
        """
        with self._lock:
            self._refill()
            if sent >= self._cut_at:
                self._rate = max(self._full * _LEAST, self._rate / 2)
                self._tokens = min(self._tokens, 0.0)
                self._cut_at = self._at

    def _refill(self) -> None:
        now = self._now()
        passed, self._at = max(0.0, now - self._at), now
        self._tokens = min(max(1.0, self._rate * _BURST), self._tokens + passed * self._rate)
        self._rate = min(self._full, self._rate + self._full * passed / RECOVERY_SECONDS)


class Limits:
    """The buckets of one registry; actions without one are not limited."""

    def __init__(self, buckets: Mapping[Action, Bucket], now: Clock = time.monotonic) -> None:
        self._buckets = buckets
        self._now = now

    def pace(self, flight: Pausing, actions: tuple[Action, ...]) -> float:
        """Wait until these actions may be called. Return the time, for `throttled`.

        Raises:
            Cancelled, DeadlineExceeded, Abandoned: while waiting.
        """
        for action in actions:
            bucket = self._buckets.get(action)
            while bucket is not None and (seconds := bucket.take()):
                flight.pause(seconds)
        return self._now()

    def throttled(self, actions: tuple[Action, ...], sent: float) -> None:
        """Learn that a call, which `pace` let go at `sent`, was answered by 429."""
        for action in actions:
            bucket = self._buckets.get(action)
            if bucket is not None:
                bucket.throttled(sent)

    def rate(self, action: Action) -> float | None:
        """Return the calls a second that are let through now, None for no limit."""
        bucket = self._buckets.get(action)
        return None if bucket is None else bucket.rate


class Rates:
    """Every bucket of a server: endpoints at one place share theirs."""

    def __init__(self, now: Clock = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._buckets: dict[tuple[Place, Action], Bucket] = {}

    def limits(self, endpoint: ImageEndpoint, settings: ImageSettings) -> Limits:
        """Return an endpoint's limits. Where two endpoints of a place differ, the lower hold."""
        place = _place(endpoint, settings)
        rates = settings.rates.over(ECR_RATES) if endpoint.ecr else {}
        limited = {action: rate for action, rate in endpoint.rates.over(rates).items() if rate}
        with self._lock:
            return Limits(
                {action: self._bucket(place, action, rate) for action, rate in limited.items()},
                self._now,
            )

    def _bucket(self, place: Place, action: Action, rate: float) -> Bucket:
        bucket = self._buckets.get((place, action))
        if bucket is None:
            bucket = self._buckets[place, action] = Bucket(rate, self._now)
        bucket.lower(rate)
        return bucket


def actions_of(method: str, url: str, *, body: bool) -> tuple[Action, ...]:
    """Return what ECR counts a call of the distribution API as.

    `body` says that a PUT into an upload session brings bytes along, too.
    """
    found = _PATH.fullmatch(urlsplit(url).path)
    if found is None:
        return ()
    if found["kind"] == "manifests":
        manifests: dict[str, tuple[Action, ...]] = {
            "PUT": ("put_image",),
            "GET": ("batch_get_image",),
            "HEAD": ("batch_get_image",),
        }
        return manifests.get(method, ())
    if found["rest"].startswith("uploads/"):
        sessions: dict[str, tuple[Action, ...]] = {
            "POST": ("initiate_layer_upload",),
            "PATCH": ("upload_layer_part",),
            "PUT": ("upload_layer_part", "complete_layer_upload")
            if body
            else ("complete_layer_upload",),
        }
        return sessions.get(method, ())
    blobs: dict[str, tuple[Action, ...]] = {
        "HEAD": ("batch_check_layer_availability",),
        "GET": ("get_download_url_for_layer",),
    }
    return blobs.get(method, ())


def _place(endpoint: ImageEndpoint, settings: ImageSettings) -> Place:
    """Return whose quota it is: for ECR the account's in the region, under any host name."""
    host = parse_host(endpoint.address.host)
    if host is not None:
        return "", host.account, host.region
    region = endpoint.region or settings.ecr_region
    return endpoint.address.netloc, endpoint.registry_id or "", region
