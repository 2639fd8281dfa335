"""`imgctl auth-check`: who am I to the server, and what may I do."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from imgctl_cli import exits
from imgctl_cli.connection import Connection, Session, connection_options
from imgctl_cli.options import Notes, output_options
from imgctl_cli.output import errors, text
from imgctl_cli.settings import ClientCommand, values
from imgctl_core.errors import ImgctlError, RequestError
from imgctl_core.models import Failure


@click.command("auth-check", cls=ClientCommand)
@output_options
@connection_options
@click.pass_context
def command(ctx: click.Context, /, output: str, **_settings: str) -> int:
    """Log in, and show who you are to the server and where you may promote to.

    Exits with 0 when the server lets you in, with 1 when anything is in the way.
    """
    as_json = output == "json"
    notes = Notes(as_json=as_json)
    connection = Connection.of(values(ctx), notes)
    try:
        with Session(connection, notes) as session:
            report = session.ask(lambda api: api.auth_check())
    except RequestError:
        # A setting that only the login could see to be wrong is still a usage error.
        raise
    except ImgctlError as error:
        errors.failure(Failure.of(error), as_json=as_json)
        return exits.FAILED
    if as_json:
        from imgctl_cli.output import json

        click.echo(json.auth(report))
    else:
        for line in text.auth(report, datetime.now(UTC)):
            click.echo(line)
    return exits.OK
