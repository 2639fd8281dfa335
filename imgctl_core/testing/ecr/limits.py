"""Quotas: how often each action may be asked for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

#: ECR's default quotas, in calls a second for an account and region ("Amazon ECR
#: service quotas"). The API and the registry share them.
QUOTAS: Final[Mapping[str, float]] = {
    "BatchCheckLayerAvailability": 1000,
    "BatchGetImage": 2000,
    "CompleteLayerUpload": 100,
    "GetAuthorizationToken": 500,
    "GetDownloadUrlForLayer": 3000,
    "InitiateLayerUpload": 100,
    "PutImage": 10,
    "UploadLayerPart": 500,
}


class Limits:
    """A bucket of tokens for each action, holding what may be asked for in one second.

    `limits["PutImage"] = 2` sets calls a second, 0 refuses all, None removes the limit.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rates: dict[str, float | None] = dict(QUOTAS)
        self._tokens: dict[str, tuple[float, float]] = {}
        self._storms: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def __getitem__(self, action: str) -> float | None:
        return self._rates[action]

    def __setitem__(self, action: str, rate: float | None) -> None:
        if action not in QUOTAS:
            raise KeyError(f"there is no quota for {action}")
        with self._lock:
            self._rates[action] = rate
            self._tokens.pop(action, None)

    def refuse(self, action: str, times: int) -> None:
        """Let that many calls be refused, the next ones, whatever the rate."""
        with self._lock:
            self._storms[action] = times

    def refused(self, action: str) -> int:
        """Return how many calls were refused so far."""
        with self._lock:
            return self._refused[action]

    def take(self, action: str) -> bool:
        """Count a call; return whether it may be answered."""
        with self._lock:
            allowed = self._allowed(action)
            self._refused[action] += not allowed
            return allowed

    def _allowed(self, action: str) -> bool:
        if self._storms[action] > 0:
            self._storms[action] -= 1
            return False
        rate = self._rates.get(action)
        if rate is None:
            return True
        now = self._clock()
        most = max(1.0, rate) if rate > 0 else 0.0
        tokens, since = self._tokens.get(action, (most, now))
        tokens = min(most, tokens + (now - since) * rate)
        allowed = tokens >= 1
        self._tokens[action] = (tokens - allowed, now)
        return allowed
