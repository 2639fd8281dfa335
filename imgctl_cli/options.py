"""The flags that every command has, and the voice of those that talk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from imgctl_core.text import one_line

F = TypeVar("F", bound=Callable[..., Any])


def _start_log(_ctx: click.Context, _param: click.Parameter, verbose: bool) -> None:
    if verbose:
        import logging

        from imgctl_cli import logs

        logs.start(logging.DEBUG, "%(levelname)s %(name)s: %(message)s")


verbose_option = click.option(
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_start_log,
    help="Log what happens, and show where a bug is.",
)


def output_options(function: F) -> F:
    """Give a command `--output` and `--verbose`."""
    chosen = click.option(
        "-o",
        "--output",
        type=click.Choice(("text", "json")),
        default="text",
        show_default=True,
        help="How to print the result.",
    )
    return chosen(verbose_option(function))


class Notes:
    """What is said to people beside the result, on stderr.

    With JSON output and no terminal nobody is there to read it: stderr then holds one
    error object or nothing.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._silent = as_json and not sys.stderr.isatty()

    def say(self, text: str) -> None:
        if not self._silent:
            click.echo(one_line(text), err=True)
