"""How often one peer and one actor may call: token buckets, in bounded memory."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from imgctl_core.errors import RateLimited

#: Callers remembered by one limit. Whoever was away longest is forgotten first, which is
#: as if their bucket were full again: most of them are by then.
MAX_KEPT: Final = 10_000


class Buckets:
    """A token bucket each for many callers, each kept as one number.

    The number is the moment when the bucket will be full again (the generic cell rate
    algorithm): a call moves it by the time that one token takes to come back.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take tokens a second, and how many a full bucket has; a rate of 0 is no limit."""
        self._cost = 1.0 / rate if rate else 0.0
        self._depth = self._cost * burst
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str) -> float:
        """Take a token, and return 0; or return how many seconds to wait for one."""
        if not self._cost:
            return 0.0
        now = self._clock()
        with self._lock:
            full_at = max(now, self._full_at.get(key, now)) + self._cost
            wait = full_at - now - self._depth
            # A little slack, or a burst of n would end at n - 1 by rounding.
            if wait > 1e-9:
                return wait
            self._full_at[key] = full_at
            self._full_at.move_to_end(key)
            if len(self._full_at) > MAX_KEPT:
                self._full_at.popitem(last=False)
            return 0.0


@dataclass(frozen=True)
class Rates:
    """The two limits of a server. By default there are none."""

    peers: Buckets = field(default_factory=lambda: Buckets(0, 1))
    actors: Buckets = field(default_factory=lambda: Buckets(0, 1))

    def peer(self, host: str) -> None:
        """Count a call from a host, before anything is known of who calls.

        Raises:
            RateLimited: there were too many.
        """
        _check(self.peers.take(network_of(host)), "this address")

    def actor(self, issuer: str, subject: str) -> None:
        """Count a call of an actor.

        Raises:
            RateLimited: there were too many.
        """
        _check(self.actors.take(f"{issuer} {subject}"), "you")


def network_of(host: str) -> str:
    """Return what counts as one peer: an address, or for IPv6 the /64 that a host has whole."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _check(wait: float, who: str) -> None:
    if wait:
        shown = math.ceil(wait * 10) / 10
        raise RateLimited(
            f"too many calls from {who}",
            fix=f"wait {shown:g} s and try again",
            wait=wait,
        )
