"""`imgctl manifest`: what a promotion left at its destination, row by row."""

from __future__ import annotations

import sys

import click

from imgctl_cli import exits
from imgctl_cli.connection import Connection, Session, connection_options
from imgctl_cli.options import Notes, verbose_option
from imgctl_cli.settings import ClientCommand, values
from imgctl_core.validate import item, promotion_id


@click.command("manifest", cls=ClientCommand)
@click.argument("id")
@click.option("-r", "--ref", default="", metavar="REF", help="Only of this item.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(("json", "jsonl")),
    default="json",
    show_default=True,
    help="One object with the rows of every item, or one line a row.",
)
@verbose_option
@connection_options
@click.pass_context
def command(ctx: click.Context, /, id: str, ref: str, output: str, **_settings: str) -> int:
    """Print what the ended promotion ID left at its destination, row by row.

    What a row holds is up to the artifact's kind; for some kinds there are none. Rows are
    printed as they come: when the exit code is not 0, some are missing.
    """
    from imgctl_cli.output import rows

    notes = Notes(as_json=True)
    promotion_id(id)
    item(ref)
    with Session(Connection.of(values(ctx), notes), notes) as session:
        found = session.stream(lambda api: api.manifest(id, ref))
        pieces = rows.manifest(id, found) if output == "json" else rows.lines(found)
        sys.stdout.writelines(pieces)
    return exits.OK
