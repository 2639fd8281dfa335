"""`imgctl cancel`: ask a running promotion to stop."""

from __future__ import annotations

import click

from imgctl_cli import exits
from imgctl_cli.connection import Connection, Session, connection_options
from imgctl_cli.options import Notes, output_options
from imgctl_cli.output import text
from imgctl_cli.settings import ClientCommand, values
from imgctl_core.models import Outcome
from imgctl_core.text import one_line
from imgctl_core.validate import promotion_id


@click.command("cancel", cls=ClientCommand)
@click.argument("id")
@output_options
@connection_options
@click.pass_context
def command(ctx: click.Context, /, id: str, output: str, **_settings: str) -> int:
    """Ask the promotion ID to stop.

    It stops at the next safe point: 'imgctl watch ID' shows when. A promotion that had
    ended before stays as it is, and the exit code is 1 unless it had been cancelled.
    """
    as_json = output == "json"
    notes = Notes(as_json=as_json)
    promotion_id(id)
    with Session(Connection.of(values(ctx), notes), notes) as session:
        promotion = session.ask(lambda api: api.cancel(id))
    if as_json:
        from imgctl_cli.output import json

        click.echo(json.promotion(promotion))
    else:
        for line in text.promotion(promotion):
            click.echo(line)
    if promotion.outcome is None:
        notes.say(f"asked to stop; 'imgctl watch {one_line(promotion.id)}' shows when it has")
        return exits.OK
    if promotion.outcome is Outcome.CANCELLED:
        return exits.OK
    notes.say("too late: it had already ended")
    return exits.FAILED
