"""Our log on stderr, one line a record, whatever text is in it."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from imgctl_core.text import one_line

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class OneLine(logging.Formatter):
    """Keeps a record on its line, and the lines of a traceback indented below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return one_line(super().formatMessage(record))

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        return "\n".join(
            f"    {one_line(line)}" for line in super().formatException(ei).splitlines()
        )


def start(level: int, layout: str) -> None:
    """Log to stderr from now on.

    Only what imgctl itself says: the debug lines of the libraries below it may hold
    credentials.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(layout))
    log = logging.getLogger("imgctl")
    log.handlers = [handler]
    log.setLevel(level)
