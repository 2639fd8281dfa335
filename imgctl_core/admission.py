"""Which promotions may begin: no more than fit, none while stopping, and none twice."""

from __future__ import annotations

import threading

from imgctl_core.errors import RequestError, ServerBusy
from imgctl_core.models import Actor, Request
from imgctl_core.store import PromotionRun, PromotionStore


class Admission:
    """Gives promotions their slots. Safe to use from any thread."""

    def __init__(self, store: PromotionStore, max_promotions: int) -> None:
        self._store = store
        # Around the question and the answer: of two equal requests one begins, and what
        # begins is among those that `close` returns.
        self._lock = threading.Lock()
        self._free = max_promotions
        self._closed = False

    def begun(self, request: Request, actor: Actor) -> PromotionRun | None:
        """Return the promotion that this very request has begun before, if it has.

        Raises:
            RequestError: its id was given to another request.
        """
        run = self._store.find(actor, request.action, request.request_id)
        if run is not None and run.request != request:
            raise RequestError(
                f"the request id {request.request_id!r} belongs to another request of yours, "
                f"which is promotion {run.id}",
                fix="give every request an id of its own, and the same one only to repeat it",
            )
        return run

    def begin(self, run: PromotionRun) -> PromotionRun:
        """Take a slot for a promotion and keep it, or return the one that is begun already.

        Raises:
            RequestError: its request's id was given to another request.
            ServerBusy: no slot is free, or the server is stopping.
        """
        with self._lock:
            earlier = self.begun(run.request, run.actor)
            if earlier is not None:
                return earlier
            if self._closed:
                raise ServerBusy("the server is stopping", fix="try again in a moment")
            if not self._free:
                raise ServerBusy(
                    "the server has no promotion slot free",
                    fix="try again in a moment, or raise IMGCTL_MAX_PROMOTIONS",
                )
            self._free -= 1
            self._store.add(run)
            return run

    def end(self) -> None:
        """Give a slot back."""
        with self._lock:
            self._free += 1

    def close(self) -> tuple[PromotionRun, ...]:
        """Let nothing begin any more, and return what still runs."""
        with self._lock:
            self._closed = True
            return self._store.running()
