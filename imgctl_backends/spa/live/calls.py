"""Makes one blocking call that a cancel need not wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from imgctl_backends.spa.wire.waiting import pool, settle
from imgctl_core import Context

T = TypeVar("T")


def called(
    context: Context,
    call: Callable[[], T],
    *,
    within: float | None = None,
    late: Callable[[], Exception] = TimeoutError,
) -> T:
    """Return what a call returns; after `within` seconds, raise what `late` makes.

    For reads: one that is left alone ends by its own timeouts, and is dropped.
    """
    until = None if within is None else time.monotonic() + within
    with pool(1, "live") as executor:
        future = executor.submit(call)
        for done in settle([future], context, until):
            return done.result()
        raise late()
