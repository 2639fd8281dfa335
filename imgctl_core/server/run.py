"""The server's life as a process: from the first line of the log to the last."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable
from typing import Final

from imgctl_core._version import __version__
from imgctl_core.errors import AuditUnavailable
from imgctl_core.server.app import Server, create_server
from imgctl_core.server.assemble import Assembly, assemble, configure_plugins
from imgctl_core.server.binding import Binding
from imgctl_core.server.limits import MAX_FILES, raise_file_limit
from imgctl_core.server.rates import Buckets, Rates
from imgctl_core.server.signals import StopSignals
from imgctl_core.settings import ServerSettings

_LOG = logging.getLogger("imgctl.server")

#: How long running promotions get after SIGTERM, in seconds. With the time for those that
#: are cancelled then, for notifiers and for calls it stays below the next figure.
DRAIN_SECONDS: Final = 18.0

#: Seconds after SIGTERM at which the process ends, whatever a plugin still does in it.
#: Kubernetes would kill it after 30.
LEAVE_SECONDS: Final = 29.0

#: Objects made between two runs of the garbage collector. Python's own 700 has it walk
#: everything that a promotion of thousands of files holds, over and over: a quarter of
#: the CPU of copying 2,000 files (docs/benchmarks.md).
_COLLECT_AFTER: Final = 50_000


def serve(settings: ServerSettings) -> int:
    """Run a server until it is asked to stop, and return the exit code.

    Raises:
        InvalidSetting: a setting can't be used.
        AuditUnavailable: the audit log can't be written.
    """
    for warning in (*settings.warnings, *check_binding(settings)):
        _LOG.warning("%s", warning)
    if (files := raise_file_limit()) < MAX_FILES:
        _LOG.warning("only %d files may be open at once: raise the limit (ulimit -n)", files)
    parts = assemble(settings, configure_plugins(settings))
    try:
        server = server_of(settings, parts)
        gc.set_threshold(_COLLECT_AFTER)
        parts.keys.start()
        return run_server(server, on_hangup=lambda: follow_rotation(parts), on_stop=leave_in_time)
    finally:
        parts.close()


def server_of(settings: ServerSettings, parts: Assembly) -> Server:
    """Return the server that the settings describe, bound and not started.

    Raises:
        InvalidSetting: the address can't be bound, or the certificate is no good.
    """
    limits = settings.limits
    return create_server(
        Binding.of(settings.server),
        parts.engine,
        parts.catalogue,
        parts.verifier,
        parts.policy,
        audit=parts.audit.record,
        rates=Rates(
            Buckets(limits.peer_rate, limits.peer_burst),
            Buckets(limits.actor_rate, limits.actor_burst),
        ),
        ready=lambda: parts.keys.ready,
        max_promotions=settings.server.max_promotions,
        version=__version__,
    )


def check_settings(settings: ServerSettings) -> tuple[str, ...]:
    """Check everything that can be checked without touching network or disk to write.

    Returns what is worth a warning.

    Raises:
        InvalidSetting: the server would not start.
    """
    warnings = (*settings.warnings, *check_binding(settings))
    configure_plugins(settings)
    return warnings


def check_binding(settings: ServerSettings) -> tuple[str, ...]:
    """Return what is worth a warning about where the server would listen.

    Raises:
        InvalidSetting: the address is no address, tokens would travel in clear, or the
            certificate is no good.
    """
    return Binding.of(settings.server).check()


def follow_rotation(parts: Assembly) -> None:
    """Begin a new audit log now if the old one was moved away, as logrotate does."""
    _LOG.info("hung up on: the audit log is looked at; settings are read at the start only")
    try:
        parts.audit.follow()
    except AuditUnavailable as error:
        _LOG.error("%s", error.message)


def leave_in_time(seconds: float = LEAVE_SECONDS) -> None:
    """End the process in so many seconds if it has not ended by itself.

    Threads of a plugin that ignores being cancelled would keep it alive for ever. To the
    audit log it looks like a crash: the next start records what was cut off.
    """

    def leave() -> None:
        _LOG.error("something still hangs after %.0f s: leaving without it", seconds)
        logging.shutdown()
        os._exit(0)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def run_server(
    server: Server,
    *,
    drain_seconds: float = DRAIN_SECONDS,
    on_hangup: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
) -> int:
    """Serve until SIGTERM or SIGINT, drain, and return the exit code 0.

    A second signal ends the process at once, as it would without us: a promotion that is
    killed leaves nothing half-visible. At a SIGHUP `on_hangup` is called, if
    no terminal hung up; at the first signal to stop, `on_stop`. Call this in the main thread.
    """
    with StopSignals(on_hangup) as signals:
        server.start()
        _LOG.info("serving on %s", server.address)
        signals.wait()
        on_stop()
        _LOG.info("asked to stop: waiting up to %.0f s for running promotions", drain_seconds)
        server.drain(drain_seconds)
        _LOG.info("stopped")
    return 0
