"""`imgctl plugins`: ask the server for its plugins."""

from __future__ import annotations

import click

from imgctl_cli import exits
from imgctl_cli.connection import Connection, Session, connection_options
from imgctl_cli.options import Notes, output_options
from imgctl_cli.output import text
from imgctl_cli.settings import ClientCommand, values


@click.command("plugins", cls=ClientCommand)
@output_options
@connection_options
@click.pass_context
def command(ctx: click.Context, /, output: str, **_settings: str) -> int:
    """List the server's plugins, and why one that is quarantined failed."""
    notes = Notes(as_json=output == "json")
    with Session(Connection.of(values(ctx), notes), notes) as session:
        infos = session.ask(lambda api: api.plugins())
    if output == "json":
        from imgctl_cli.output import json

        click.echo(json.plugins(infos))
    else:
        for line in text.plugins(infos):
            click.echo(line)
    return exits.OK
