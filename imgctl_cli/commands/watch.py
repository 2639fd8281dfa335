"""`imgctl watch`: follow a promotion to its end."""

from __future__ import annotations

import click

from imgctl_cli.connection import Connection, Session, connection_options
from imgctl_cli.following import conclude, follow
from imgctl_cli.options import Notes, output_options
from imgctl_cli.settings import ClientCommand, values
from imgctl_core.validate import promotion_id


@click.command("watch", cls=ClientCommand)
@click.argument("id")
@output_options
@connection_options
@click.pass_context
def command(ctx: click.Context, /, id: str, output: str, **_settings: str) -> int:
    """Follow the promotion ID to its end, and exit as it does.

    Ctrl-C stops watching and leaves the promotion running.
    """
    as_json = output == "json"
    notes = Notes(as_json=as_json)
    promotion_id(id)
    with Session(Connection.of(values(ctx), notes), notes) as session:
        return conclude(follow(session, id, as_json=as_json), as_json=as_json)
