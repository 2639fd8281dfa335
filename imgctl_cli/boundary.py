"""What becomes of an error that no command has dealt with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

import click

from imgctl_cli import exits
from imgctl_cli.output import errors as show
from imgctl_core.errors import ImgctlError, InternalError, InvalidSetting
from imgctl_core.models import Failure
from imgctl_core.text import one_line


def report(error: Exception, argv: Sequence[str]) -> int:
    """Show an error on stderr, as text or JSON, and return the exit code it means."""
    as_json = wants_json(argv)
    if wants_traceback(argv):
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            click.echo(one_line(line), err=True)
    if isinstance(error, ImgctlError):
        show.failure(Failure.of(error), as_json=as_json)
        return exits.of_error(type(error))
    if isinstance(error, click.ClickException):
        show.failure(_usage(error), as_json=as_json)
        return error.exit_code
    show.failure(_unexpected(error), as_json=as_json)
    return exits.FAILED


def wants_json(argv: Sequence[str]) -> bool:
    """Return whether the command line asks for JSON, as one object or as lines of them.

    Read from the words themselves, because the error may be that they can't be parsed.
    """
    ours, forms = _before_dashes(argv), ("json", "jsonl")
    in_one = {prefix + form for prefix in ("-o", "-o=", "--output=") for form in forms}
    return not in_one.isdisjoint(ours) or any(
        flag in ("-o", "--output") and value in forms for flag, value in pairwise(ours)
    )


def wants_traceback(argv: Sequence[str]) -> bool:
    debug = os.environ.get("IMGCTL_DEBUG", "")
    return debug not in ("", "0") or "--verbose" in _before_dashes(argv)


def _before_dashes(argv: Sequence[str]) -> list[str]:
    return list(argv[: argv.index("--")] if "--" in argv else argv)


def _usage(error: click.ClickException) -> Failure:
    ctx = getattr(error, "ctx", None)
    fix = f"see '{ctx.command_path} --help'" if ctx is not None else ""
    return Failure(InvalidSetting.reason, error.format_message(), fix)


def _unexpected(error: Exception) -> Failure:
    if isinstance(error, OSError) and error.strerror:
        name = f" ({error.filename})" if error.filename else ""
        return Failure(InternalError.reason, f"the system said: {error.strerror}{name}")
    # The text of an exception that nobody expected may hold anything, a secret too.
    return Failure(
        InternalError.reason,
        f"imgctl met a bug: {type(error).__name__}",
        "run the same command with --verbose and report what it prints",
    )
