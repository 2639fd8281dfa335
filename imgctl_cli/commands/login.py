"""`imgctl login`: log in now, whatever is cached."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from imgctl_cli import exits
from imgctl_cli.connection import Connection, connection_options, log_in
from imgctl_cli.options import Notes, output_options
from imgctl_cli.output import text
from imgctl_cli.running import show_token_option
from imgctl_cli.settings import ClientCommand, values


@click.command("login", cls=ClientCommand)
@show_token_option
@output_options
@connection_options
@click.pass_context
def command(ctx: click.Context, /, show_token: bool, output: str, **_settings: str) -> int:
    """Log in at Dex now, keep the token, and show what it says: who you are, and how long.

    Other commands log in by themselves when they need to. This one asks for a new token
    even when one is cached, and doesn't ask the server: 'imgctl auth-check' does.
    """
    notes = Notes(as_json=output == "json")
    token = log_in(Connection.of(values(ctx), notes).login, notes, use_cache=False)
    if output == "json":
        from imgctl_cli.output import json

        click.echo(json.login(token, show_token=show_token))
        return exits.OK
    if show_token:
        click.echo(token.value)
    for line in text.login(token, datetime.now(UTC)):
        click.echo(line)
    return exits.OK
