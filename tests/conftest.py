"""What every test gets: the kit's fixtures, an empty home, and no way out of the loopback."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

pytest_plugins = ["imgctl_core.testing.fixtures"]
pytest.register_assert_rewrite("imgctl_core.testing.contract")


def pytest_configure() -> None:
    """Let programs under test be interrupted, even when these tests run in the background.

    A shell starts what it puts into the background with SIGINT ignored, and children
    inherit that; a handler of our own is not inherited.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _isolated(isolated: None) -> None:
    """Apply the kit's isolation to every test."""


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Take back what commands do to our log: their stderr is gone after the test."""
    log = logging.getLogger("imgctl")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers = handlers
    log.setLevel(level)
