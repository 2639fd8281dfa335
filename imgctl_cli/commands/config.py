"""`imgctl config`: what this client would use, and where each value comes from."""

from __future__ import annotations

import click

from imgctl_cli import exits
from imgctl_cli.connection import connection_options
from imgctl_cli.main import HelpfulGroup
from imgctl_cli.options import output_options
from imgctl_cli.output import text
from imgctl_cli.settings import ClientCommand, Value, client_file, setting_options, values
from imgctl_core.errors import ImgctlError
from imgctl_core.models import JSON
from imgctl_core.text import one_line


@click.group("config", cls=HelpfulGroup)
def command() -> None:
    """Show this client's settings."""


@command.command("show", cls=ClientCommand)
@setting_options("source", "destination")
@output_options
@connection_options
@click.pass_context
def show(ctx: click.Context, /, output: str, **_settings: str) -> int:
    """Show every setting, its value and where that comes from.

    Takes the flags of the other commands, and shows what they would change. Secrets are
    masked.
    """
    found = list(values(ctx).values())
    rows = [(value.setting.name, _shown(value, found), _origin(value)) for value in found]
    file = client_file(ctx)
    if output == "json":
        from imgctl_cli.output import json

        settings: list[JSON] = [
            {"name": name, "value": shown, "origin": value.origin.value, "where": value.where}
            for (name, shown, _), value in zip(rows, found, strict=True)
        ]
        click.echo(
            json.document({"file": str(file.path), "file_found": file.found, "settings": settings})
        )
    else:
        for line in text.table(("SETTING", "VALUE", "FROM"), rows):
            click.echo(line)
        there = "" if file.found else " (not there)"
        click.echo(f"settings file: {one_line(str(file.path))}{there}", err=True)
    return exits.OK


def _shown(value: Value, others: list[Value]) -> str:
    if value.setting.name == "audience" and not value.text:
        from imgctl_core.client.target import default_audience

        try:
            return default_audience(next(o.text for o in others if o.setting.name == "server"))
        except ImgctlError:
            return ""
    return value.shown


def _origin(value: Value) -> str:
    return f"{value.origin.value} {value.where}".strip()
