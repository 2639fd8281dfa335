"""The issuer's public keys, kept at hand.

One thread fetches; requests only look, and ask it to fetch when they miss something.
However many requests miss however many keys, there is at most one fetch per cool-down,
and none of them waits longer than two seconds for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from imgctl_core.auth.counters import KeyFetchCounters, KeyFetches
from imgctl_core.auth.discovery import check_addresses, fetch_keys
from imgctl_core.auth.fetch import FetchFailed
from imgctl_core.auth.freshness import Freshness
from imgctl_core.auth.keys import Jwk, KeySet, UnknownKey
from imgctl_core.errors import IssuerUnreachable

_LOG = logging.getLogger("imgctl.auth")


class JwksCache:
    """A `KeySource` that fetches the issuer's keys. Safe from any thread."""

    def __init__(
        self,
        issuer: str,
        jwks_uri: str = "",
        *,
        freshness: Freshness | None = None,
        timeout: float = 5.0,
        wait: float = 2.0,
        fetch: Callable[[], KeySet] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the issuer's address. Nothing is sent before `start` or the first `key`.

        Args:
            issuer: https, or http on the loopback.
            jwks_uri: where its keys are; by default where its discovery document says.
            freshness: when keys count and when new ones are fetched.
            timeout: for each request of a fetch, in seconds.
            wait: longest time that `key` waits for a fetch, in seconds.
            fetch: gets the keys; by default from those addresses.
            clock: monotonic seconds.

        Raises:
            InvalidSetting: an address can't be used.
        """
        check_addresses(issuer, jwks_uri)
        self._issuer = issuer
        #: When keys count.
        self.freshness = freshness or Freshness()
        self._wait = wait
        self._fetch = fetch or (lambda: fetch_keys(issuer, jwks_uri, timeout=timeout))
        self._clock = clock
        # Everything below is guarded by this condition.
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._wanted = False
        self._fetching = False
        self._finished = 0
        self._attempted_at: float | None = None
        self._fetched_at: float | None = None
        self._set = KeySet({})
        self._counters = KeyFetchCounters()

    def start(self) -> None:
        """Begin to fetch in the background, again and again until it works. Idempotent."""
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="imgctl-jwks", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop fetching. A fetch under way ends on its own, within its timeouts."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=self._wait)

    @property
    def ready(self) -> bool:
        """Whether there is a key that may be used now."""
        with self._changed:
            return self._usable(self._clock())

    def counters(self) -> KeyFetches:
        """Return how the fetching goes."""
        with self._changed:
            return self._counters.snapshot(self._clock())

    def key(self, kid: str) -> Jwk:
        """Return the key of that id, fetching anew when it is not known or no longer fresh.

        Raises:
            UnknownKey: the issuer publishes no usable key of that id.
            IssuerUnreachable: there are no keys, or they are too old to be trusted.
        """
        self.start()
        with self._changed:
            found, now = self._set.keys.get(kid), self._clock()
            if found is not None and self._fresh(now):
                return found
            # An issuer that is known to be down slows nobody whose key is known.
            spared = found is not None and self._usable(now) and self._counters.failing
            self._await_fetch(0.0 if spared else self._wait)
            if not self._usable(self._clock()):
                raise IssuerUnreachable(
                    "the server can't check tokens now: it could not fetch the issuer's keys",
                    fix="try again in a minute; if it lasts, the server's log says why",
                )
            found = self._set.keys.get(kid)
        if found is None:
            raise UnknownKey
        return found

    def _fresh(self, now: float) -> bool:
        return self._fetched_at is not None and self.freshness.is_fresh(self._fetched_at, now)

    def _usable(self, now: float) -> bool:
        return self._fetched_at is not None and self.freshness.is_usable(self._fetched_at, now)

    def _await_fetch(self, patience: float) -> None:
        """Wait for the fetch under way, or for one of our own where that is allowed."""
        if self._closed:
            return
        if not self._fetching and not self._wanted:
            if not self.freshness.may_fetch(self._attempted_at, self._clock()):
                return
            self._wanted = True
            self._changed.notify_all()
        before = self._finished
        self._changed.wait_for(lambda: self._finished != before or self._closed, patience)

    def _run(self) -> None:
        while self._next():
            self._refresh()

    def _next(self) -> bool:
        """Wait until a fetch is due and claim it. False when closed."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                due = self.freshness.next_fetch(self._fetched_at, self._attempted_at, now)
                if self._wanted or due <= now:
                    self._wanted = False
                    self._fetching = True
                    self._attempted_at = now
                    return True
                self._changed.wait(due - now)
            return False

    def _refresh(self) -> None:
        fetched: KeySet | None = None
        error = ""
        try:
            fetched = self._fetch()
        except FetchFailed as failed:
            error = str(failed)
        except Exception as unexpected:  # noqa: BLE001 - this thread must outlive any answer
            error = f"{self._issuer}: unexpected {type(unexpected).__name__}"
        with self._changed:
            before = self._set
            troubled = self._counters.failing
            self._fetching = False
            self._finished += 1
            if fetched is not None:
                self._take(fetched)
            else:
                self._counters.failed(error)
            counters = self._counters.snapshot(self._clock())
            self._changed.notify_all()
        if fetched is None:
            self._report_failure(counters)
        elif troubled or fetched.keys.keys() != before.keys.keys() or not fetched.keys:
            self._report_success(fetched)

    def _take(self, fetched: KeySet) -> None:
        self._set = fetched
        # Counted from the attempt: the answer may be as old as that. A set without a usable
        # key takes the old keys away, as the issuer means it to, and counts as none.
        self._fetched_at = self._attempted_at if fetched.keys else None
        self._counters.succeeded(self._clock(), len(fetched.keys), fetched.skipped)

    def _report_failure(self, counters: KeyFetches) -> None:
        age = "none yet" if counters.age is None else f"{counters.age:.0f} s old"
        _LOG.warning(
            "could not fetch the issuer's keys: %s (the keys at hand: %s)",
            counters.last_error,
            age,
        )

    def _report_success(self, fetched: KeySet) -> None:
        level = logging.INFO if fetched.keys else logging.ERROR
        _LOG.log(level, "fetched the keys of %s: %d usable", self._issuer, len(fetched.keys))
        if fetched.skipped:
            codes = Counter(fetched.skipped).items()
            counted = (f"{code} ({count} times)" if count > 1 else code for code, count in codes)
            _LOG.warning("keys left out, and why: %s", ", ".join(counted))
        if "private" in fetched.skipped:
            _LOG.error("%s publishes a private key: whoever reads it can sign", self._issuer)
