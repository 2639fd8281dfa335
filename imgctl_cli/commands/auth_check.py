"""`imgctl auth-check`: who am I to the server, and what may I do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import click

from imgctl_cli import exits
from imgctl_cli.checks import check_promotable, require_destination
from imgctl_cli.connection import Connection, Session, connection_options
from imgctl_cli.options import Notes, output_options
from imgctl_cli.output import errors, text
from imgctl_cli.settings import ClientCommand, Origin, Value, setting_options, values
from imgctl_core.errors import ImgctlError, RequestError
from imgctl_core.models import Failure, PromotionRequest


@click.command("auth-check", cls=ClientCommand)
@click.option(
    "--explain",
    metavar="REF",
    help="Show what every check says of promoting this, and promote nothing.",
)
@setting_options("source", "destination")
@output_options
@connection_options
@click.pass_context
def command(ctx: click.Context, /, explain: str | None, output: str, **_settings: str) -> int:
    """Log in, and show who you are to the server and where you may promote to.

    \b
    imgctl auth-check
    imgctl auth-check --explain myapp:v1.0.0 -d prod

    Exits with 0 when the server lets you in, with 1 when anything is in the way. With
    --explain it exits with 0 only when that promotion would be allowed.
    """  # noqa: D301 - \b keeps lines apart in click's help
    as_json = output == "json"
    notes = Notes(as_json=as_json)
    settings = values(ctx)
    explained = _explained(explain, settings)
    connection = Connection.of(settings, notes)
    try:
        with Session(connection, notes) as session:
            report = session.ask(lambda api: api.auth_check(explained))
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
    denied = report.explanation is not None and not report.explanation.allowed
    return exits.FAILED if denied else exits.OK


def _explained(ref: str | None, settings: Mapping[str, Value]) -> PromotionRequest | None:
    """Return the promotion to explain, None when there is none.

    Raises:
        UsageError: an end of it was given, and not what to promote.
        InvalidReference: the ref can't be one of any kind.
        MissingEnvironment: there is no destination.
    """
    source, destination = settings["source"], settings["destination"]
    if ref is None:
        if Origin.FLAG in (source.origin, destination.origin):
            raise click.UsageError("--source and --destination go with --explain REF")
        return None
    check_promotable(ref)
    return PromotionRequest((ref,), require_destination(destination.text), source.text)
