"""`imgctl logout`: forget the tokens that are cached here."""

from __future__ import annotations

from collections.abc import Mapping

import click

from imgctl_cli import exits
from imgctl_cli.connection import connection_options, require
from imgctl_cli.options import output_options
from imgctl_cli.settings import ClientCommand, Value, values


@click.command("logout", cls=ClientCommand)
@click.option("--all", "everything", is_flag=True, help="Forget every token, of any server.")
@output_options
@connection_options
@click.pass_context
def command(ctx: click.Context, /, everything: bool, output: str, **_settings: str) -> int:
    """Forget the cached tokens from this Dex for this server, of whichever key.

    No network is touched. A token that is known elsewhere stays good until it expires.
    """
    from imgctl_core.client.login import logout

    issuer, audience = ("", "") if everything else _meant(values(ctx))
    count = logout(issuer, audience, everything=everything)
    if output == "json":
        from imgctl_cli.output import json

        click.echo(json.document({"forgotten": count}))
    elif count:
        click.echo(f"forgot {count} cached token{'s' * (count > 1)}")
    else:
        click.echo("there was no cached token to forget")
    return exits.OK


def _meant(settings: Mapping[str, Value]) -> tuple[str, str]:
    """Return issuer and audience of the tokens that these settings would lead to.

    Raises:
        InvalidSetting: they lead to none.
    """
    from imgctl_core.client.target import default_audience

    require(settings["dex_url"])
    issuer, server = settings["dex_url"].text, settings["server"].text
    if settings["audience_mode"].text == "client-id":
        require(settings["client_id"])
        return issuer, settings["client_id"].text
    return issuer, settings["audience"].text or default_audience(server)
