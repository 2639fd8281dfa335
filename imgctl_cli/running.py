"""Carrying out what was asked for: show its plan, or start it and follow it to its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import click

from imgctl_cli import exits
from imgctl_cli.connection import Session
from imgctl_cli.following import conclude, follow
from imgctl_cli.output import errors, text
from imgctl_core.errors import ImgctlError
from imgctl_core.models import PlanReport, Promotion

if TYPE_CHECKING:
    from imgctl_core.client.api import Client

T = TypeVar("T")

plan_option: Final = click.option(
    "--plan", is_flag=True, help="Show what would happen, and write nothing."
)
show_token_option: Final = click.option(
    "--show-token", is_flag=True, help="Print the OIDC token before the result."
)


def new_request_id() -> str:
    """Return an id for one request, however often the call for it has to be made.

    A call that is made again after a refused token must not be a second promotion.
    """
    return f"cli-{os.urandom(16).hex()}"


def run(
    session: Session, start: Callable[[Client], Promotion], *, as_json: bool, show_token: bool
) -> int:
    """Start something, follow it, print its result and return its exit code."""
    started = _showing_token(session, start, as_json=as_json, show_token=show_token)
    ended = follow(session, started.id, as_json=as_json)
    return conclude(ended, as_json=as_json, token=session.token * show_token)


def show_plan(
    session: Session, plan: Callable[[Client], PlanReport], *, as_json: bool, show_token: bool
) -> int:
    """Print a plan and return the exit code that what it plans would end with."""
    report = _showing_token(session, plan, as_json=as_json, show_token=show_token)
    if as_json:
        from imgctl_cli.output import json

        click.echo(json.plan(report, session.token * show_token))
    else:
        for line in text.plan(report):
            click.echo(line)
        errors.notes_of(report.items)
    code = exits.of_plan(report)
    if code != exits.OK:
        errors.of_items(report.items, as_json=as_json)
    return code


def _showing_token(
    session: Session, call: Callable[[Client], T], *, as_json: bool, show_token: bool
) -> T:
    """Make the first call, and show the token it was made with, whether it fails or not."""
    try:
        return session.ask(call)
    except ImgctlError:
        if show_token and as_json:
            from imgctl_cli.output import json

            click.echo(json.document({"token": session.token}))
        raise
    finally:
        if show_token and not as_json:
            click.echo(session.token)
