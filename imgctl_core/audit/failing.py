"""What callers hear of a log that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from imgctl_core.errors import AuditUnavailable

_LOG = logging.getLogger("imgctl.audit")


@contextmanager
def told_to_callers(what: str) -> Iterator[None]:
    """Let callers hear no more of a log that fails than is theirs to know.

    Paths and places are for whoever runs the server: they go into its own log, which says
    `what` comes of it.

    Raises:
        AuditUnavailable: in place of the one that was raised inside.
    """
    try:
        yield
    except AuditUnavailable as error:
        _LOG.error("%s: %s", what, error.message)
        raise AuditUnavailable(
            "the server can't write its audit log, and does nothing without it",
            fix="tell whoever runs the server: its log has the details",
        ) from error
