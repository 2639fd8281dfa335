"""Following a promotion to its end, and showing how it ended."""

from __future__ import annotations

import click

from imgctl_cli import exits
from imgctl_cli.connection import Session
from imgctl_cli.output import errors, progress, text
from imgctl_core.errors import StreamCut, Unreachable
from imgctl_core.models import Progress, Promotion
from imgctl_core.text import one_line


def follow(session: Session, promotion_id: str, *, as_json: bool) -> Promotion | None:
    """Show progress until the promotion has ended; None when the user went away before.

    Raises:
        Unreachable: the connection was lost. The promotion goes on without us.
    """
    reporter = progress.choose(as_json=as_json)
    try:
        for message in session.watch(promotion_id):
            if isinstance(message, Progress):
                reporter.update(message)
            else:
                reporter.end(message)
                return message
        raise StreamCut("the connection ended before the promotion's result arrived")
    except KeyboardInterrupt:
        reporter.stop()
        click.echo(f"\ndetached: the promotion goes on\n{_again(promotion_id)}", err=True)
        return None
    except Unreachable as error:
        raise type(error)(
            error.message,
            fix=f"the promotion {promotion_id} may still go on: {_again(promotion_id)}",
            id=promotion_id,
        ) from error
    finally:
        reporter.stop()


def conclude(ended: Promotion | None, *, as_json: bool, token: str = "") -> int:
    """Print the result of a promotion and return its exit code.

    `token` goes into JSON output when it was asked for.
    """
    if ended is None:
        return exits.INTERRUPTED
    if as_json:
        from imgctl_cli.output import json

        click.echo(json.promotion(ended, token))
    else:
        for line in text.promotion(ended):
            click.echo(line)
        errors.notes_of(ended.items)
    if ended.audit_degraded:
        click.echo("warning: the server could not write this outcome to its audit log", err=True)
    code = exits.of_promotion(ended)
    if code != exits.OK:
        errors.of_items(ended.items, ended.id, as_json=as_json)
    return code


def _again(promotion_id: str) -> str:
    return f"imgctl watch {one_line(promotion_id)}"
