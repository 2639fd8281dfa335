"""`imgctl activate`: make a version live that its environment holds already."""

from __future__ import annotations

import click

from imgctl_cli import running
from imgctl_cli.checks import check_activatable, require_destination
from imgctl_cli.connection import Connection, Session, connection_options
from imgctl_cli.options import Notes, output_options
from imgctl_cli.settings import ClientCommand, setting_options, values
from imgctl_core.models import ActivationRequest


@click.command("activate", cls=ClientCommand)
@click.argument("ref", required=False)
@click.option("-r", "--ref", "named", metavar="REF", help="The same as REF.")
@setting_options("destination")
@click.option(
    "--previous",
    is_flag=True,
    help="The version that was live before the one that is now; REF then names none.",
)
@click.option(
    "--wait", is_flag=True, help="Don't end before caches on the way to people have it, too."
)
@running.plan_option
@running.show_token_option
@output_options
@connection_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    ref: str | None,
    named: str | None,
    previous: bool,
    wait: bool,
    plan: bool,
    show_token: bool,
    output: str,
    **_settings: str,
) -> int:
    """Make a version live in an environment that holds it already.

    \b
    imgctl activate spa:shop:1.4.2 -d prod
    imgctl activate spa:shop:1.4.2 -d prod --plan
    imgctl activate spa:shop -d prod --previous

    Nothing is copied: 'imgctl promote' brings a version there, and what is live stays live
    until this is asked for. Ctrl-C leaves it going on and prints how to follow it again.
    """  # noqa: D301 - \b keeps lines apart in click's help
    notes = Notes(as_json=output == "json")
    settings = values(ctx)
    request = ActivationRequest(
        ref=_ref(ref, named),
        environment=require_destination(settings["destination"].text),
        previous=previous,
        wait=wait,
        request_id=running.new_request_id(),
    )
    how = {"as_json": output == "json", "show_token": show_token}
    with Session(Connection.of(settings, notes), notes) as session:
        if plan:
            return running.show_plan(session, lambda api: api.plan_activation(request), **how)
        return running.run(session, lambda api: api.start_activation(request), **how)


def _ref(ref: str | None, named: str | None) -> str:
    """Return what is to go live, from the one place where it was said.

    Raises:
        UsageError: it was said nowhere, or twice.
        InvalidReference: it can't go live, whatever the server knows.
    """
    if ref is not None and named is not None:
        raise click.UsageError("give the ref in one way: as REF, or by --ref")
    said = ref if ref is not None else named
    if said is None:
        raise click.UsageError("no ref is given: say what to make live, such as spa:shop:1.4.2")
    check_activatable(said)
    return said
