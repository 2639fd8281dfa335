"""Records that the audit log could not take when they were due."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from typing import Final

from imgctl_core.audit import AuditLog
from imgctl_core.errors import AuditUnavailable
from imgctl_core.models import JSON

_LOG = logging.getLogger("imgctl.audit")

#: Seconds between two tries to write what is owed.
RETRY_SECONDS: Final = 5.0


class Debts:
    """Keeps records in their order and tries to write them until it can. Thread-safe.

    They are kept in memory, which is lost with the process: a disk that is full would not
    take them either. The server's own log, which goes elsewhere, has them at once.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._owed: list[tuple[str, Mapping[str, JSON]]] = []
        self._over = False

    def owe(self, event: str, fields: Mapping[str, JSON]) -> None:
        """Keep one more record."""
        _LOG.error("owed to the audit log: %s %s", event, json.dumps(fields, sort_keys=True))
        with self._lock:
            self._owed.append((event, fields))
        self._try_later()

    def pay(self) -> None:
        """Write all of them now.

        Raises:
            AuditUnavailable: one can't be written; it and those after it are still owed.
        """
        with self._lock:
            while self._owed:
                self._log.record(*self._owed[0], durable=True)
                del self._owed[0]

    def give_up(self) -> None:
        """Try no more by itself: the log is about to be closed."""
        self._over = True

    def _try_later(self) -> None:
        timer = threading.Timer(RETRY_SECONDS, self._try)
        timer.daemon = True
        timer.start()

    def _try(self) -> None:
        if self._over:
            return
        try:
            self.pay()
        except AuditUnavailable:
            self._try_later()
