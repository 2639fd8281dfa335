"""What this room writes to the audit log: who was let in to ask, and who was not."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from imgctl_core.audit.failing import told_to_callers
from imgctl_core.audit.fields import actor_fields, peer_fields
from imgctl_core.errors import AuditUnavailable, ImgctlError
from imgctl_core.models import JSON, Actor, PromotionRequest
from imgctl_core.peer import Peer
from imgctl_core.server.caller import Caller, peer_host
from imgctl_core.server.ports import Audit

_LOG = logging.getLogger("imgctl.server")

#: Denials written within a minute: in all, and of one host. The rest are counted.
PER_MINUTE: Final = 60
PER_HOST: Final = 10


class Sampler:
    """Lets some through within a minute, so that nobody fills the disk with denials."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = 0.0
        self._hosts: Counter[str] = Counter()
        self._skipped = 0

    def take(self, host: str) -> int | None:
        """Return how many were skipped since the last one taken, None to skip this too."""
        with self._lock:
            now = self._clock()
            if now - self._minute >= 60.0:
                self._minute = now
                self._hosts.clear()
            if self._hosts.total() >= PER_MINUTE or self._hosts[host] >= PER_HOST:
                self._skipped += 1
                return None
            self._hosts[host] += 1
            skipped, self._skipped = self._skipped, 0
            return skipped


class Records:
    """Writes the server's own events."""

    def __init__(self, audit: Audit, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._unauthenticated = Sampler(clock)
        self._unauthorized = Sampler(clock)
        self._limited = Sampler(clock)

    def authn_denied(self, method: str, peer: Peer, cause: str) -> None:
        """Note that somebody without a good token was turned away. `cause` is our word."""
        fields: dict[str, JSON] = {"method": method, "cause": cause}
        self._denied("authn.denied", self._unauthenticated, peer, fields)

    def authz_denied(
        self, method: str, peer: Peer, actor: Actor | None, error: ImgctlError
    ) -> None:
        """Note that somebody whom we know was turned away."""
        fields: dict[str, JSON] = {
            "method": method,
            "actor": actor_fields(actor) if actor is not None else None,
            "reason": error.reason,
            "message": error.message,
        }
        self._denied("authz.denied", self._unauthorized, peer, fields)

    def limited(self, method: str, peer: Peer, actor: Actor | None) -> None:
        """Note that a peer, or an actor where one is given, called too often."""
        fields: dict[str, JSON] = {
            "method": method,
            "actor": actor_fields(actor) if actor is not None else None,
            "cause": "too many calls",
        }
        self._denied("server.limited", self._limited, peer, fields)

    def auth_checked(self, caller: Caller, explained: PromotionRequest | None) -> None:
        """Note that somebody asked who they are, and what they had explained, as they typed it.

        Raises:
            AuditUnavailable: it can't be written, which is what the caller should hear.
        """
        fields = {**peer_fields(caller.peer), "actor": actor_fields(caller.actor)}
        if explained is not None:
            fields["explained"] = {
                "refs": list(explained.refs),
                "source": explained.source,
                "destination": explained.destination,
            }
        with told_to_callers("auth.checked not recorded"):
            self._audit("auth.checked", fields)

    def _denied(self, event: str, sampler: Sampler, peer: Peer, fields: Mapping[str, JSON]) -> None:
        skipped = sampler.take(peer_host(peer.address))
        if skipped is None:
            return
        try:
            self._audit(event, {**fields, **peer_fields(peer), "skipped_before": skipped})
        except AuditUnavailable as error:
            # They are turned away all the same.
            _LOG.error("%s not recorded: %s", event, error.message)
