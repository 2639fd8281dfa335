"""Tell the notifiers, each in a guard of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from imgctl_core.context import Context
from imgctl_core.models import Promotion, PromotionEvent
from imgctl_core.notifier import Notifier

_LOG = logging.getLogger("imgctl.notify")

#: Seconds a notifier gets for one event.
TIME_LIMIT = 10.0

#: Events of one notifier that may be under way at once. A notifier that hangs loses the
#: events beyond that; it can neither delay a promotion nor fill the memory.
_AT_ONCE = 8


class Notifications:
    """Hands ended promotions to every notifier, without waiting for any."""

    def __init__(self, notifiers: Mapping[str, Notifier[Any]]) -> None:
        self._notifiers = notifiers
        self._slots = {name: threading.Semaphore(_AT_ONCE) for name in notifiers}
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def send(self, promotion: Promotion) -> None:
        """Tell every notifier of an ended promotion. Returns at once, never raises."""
        event = PromotionEvent(promotion)
        for name, notifier in self._notifiers.items():
            if not self._slots[name].acquire(blocking=False):
                _LOG.error("notifier %s hangs: %s was not told to it", name, promotion.id)
                continue
            # A daemon: a notifier that ignores its deadline must not keep the server alive.
            thread = threading.Thread(
                target=self._tell, args=(name, notifier, event), name=f"notify-{name}", daemon=True
            )
            try:
                with self._lock:
                    thread.start()
                    self._threads.add(thread)
            except RuntimeError as error:
                self._slots[name].release()
                _LOG.error("%s was not told to notifier %s: %s", promotion.id, name, error)

    def close(self, seconds: float) -> None:
        """Wait at most that long for what is under way, then close the notifiers."""
        until = time.monotonic() + seconds
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        for name, notifier in self._notifiers.items():
            try:
                notifier.close()
            except Exception:  # noqa: BLE001 - a plugin's bug stays its own
                _LOG.exception("notifier %s failed to close", name)

    def _tell(self, name: str, notifier: Notifier[Any], event: PromotionEvent) -> None:
        context = Context(
            promotion_id=event.promotion.id,
            deadline=time.monotonic() + TIME_LIMIT,
            log=logging.getLogger(f"imgctl.notifier.{name}"),
        )
        try:
            notifier.notify(event, context)
        except Exception as error:  # noqa: BLE001 - a plugin's bug stays its own
            # The text of a foreign error may hold the address, which is a secret.
            _LOG.error(
                "notifier %s failed for %s: %s", name, event.promotion.id, type(error).__name__
            )
        finally:
            self._slots[name].release()
            with self._lock:
                self._threads.discard(threading.current_thread())
