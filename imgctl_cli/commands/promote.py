"""`imgctl promote`: the main job."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from imgctl_cli import exits
from imgctl_cli.connection import Connection, Session, begun, connection_options
from imgctl_cli.following import conclude, follow
from imgctl_cli.options import Notes, output_options
from imgctl_cli.output import errors, text
from imgctl_cli.release import Release, read_release
from imgctl_cli.settings import ClientCommand, Origin, Value, setting_options, values
from imgctl_core.errors import ImgctlError, InvalidReference, MissingEnvironment
from imgctl_core.models import OnConflict, PlanReport, PromotionRequest
from imgctl_core.text import one_line

if TYPE_CHECKING:
    from imgctl_core.client.api import Client

T = TypeVar("T")


@click.command("promote", cls=ClientCommand)
@click.argument("refs", metavar="[REF]...", nargs=-1)
@click.option("-r", "--ref", "named", multiple=True, metavar="REF", help="The same as REF.")
@click.option(
    "--file",
    "release_file",
    metavar="RELEASE.yaml",
    type=click.Path(path_type=Path),
    help="Promote what a release file lists, as one promotion.",
)
@setting_options("source", "destination")
@click.option("--plan", is_flag=True, help="Show what would happen, and write nothing.")
@click.option(
    "--plan-out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --plan: save the plan and every row of it as JSON.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(("fail", "replace")),
    default="fail",
    show_default=True,
    help="What to do when the destination holds something else.",
)
@click.option(
    "--fail-fast", is_flag=True, help="Of several, stop what is not published when one fails."
)
@click.option("--deep", is_flag=True, help="Trust nothing that the destination says it has.")
@click.option(
    "--referrers",
    type=click.Choice(("all", "none", "refresh")),
    help="Which signatures, SBOMs and other referrers of images to bring; refresh brings "
    "new ones of an image that is there.  [default: the server's, all]",
)
@click.option("--show-token", is_flag=True, help="Print the OIDC token before the result.")
@output_options
@connection_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    refs: tuple[str, ...],
    named: tuple[str, ...],
    release_file: Path | None,
    plan: bool,
    plan_out: Path | None,
    on_conflict: str,
    fail_fast: bool,
    deep: bool,
    referrers: str | None,
    show_token: bool,
    output: str,
    **_settings: str,
) -> int:
    """Promote an artifact, or several as one promotion, to an environment.

    \b
    imgctl promote myapp:v1.0.0 --source dev --destination prod
    imgctl promote myapp@sha256:9f2c… -d prod --plan
    imgctl promote spa:shop:1.4.2 -d prod -o json
    imgctl promote --file release.yaml -d prod

    Ctrl-C leaves the promotion running and prints how to follow it again.
    """  # noqa: D301 - \b keeps lines apart in click's help
    as_json = output == "json"
    notes = Notes(as_json=as_json)
    settings = values(ctx)
    release = _release(refs, named, release_file)
    request = replace(
        _request(release, settings),
        on_conflict=OnConflict(on_conflict),
        fail_fast=fail_fast,
        deep=deep,
        options={"referrers": referrers} if referrers else {},
    )
    if plan_out is not None:
        _check_plan_out(plan_out, plan=plan)
    with Session(Connection.of(settings, notes), notes) as session:
        if plan:
            report = _planned(session, request, plan_out, show_token, as_json)
            return _conclude_plan(report, as_json=as_json, token=session.token * show_token)
        started = _showing_token(session, lambda api: api.start(request), show_token, as_json)
        ended = follow(session, started.id, as_json=as_json)
        return conclude(ended, as_json=as_json, token=session.token * show_token)


def _release(refs: tuple[str, ...], named: tuple[str, ...], release_file: Path | None) -> Release:
    """Return what to promote, from the one place where it was said.

    Raises:
        UsageError: it was said nowhere, or in more than one place.
        InvalidSetting: the release file is wrong.
    """
    given = [bool(refs), bool(named), release_file is not None]
    if sum(given) > 1:
        raise click.UsageError("give refs in one way: as REF, by --ref, or by --file")
    if release_file is not None:
        return read_release(release_file)
    if not any(given):
        raise click.UsageError("no ref is given: say what to promote, such as myapp:v1.0.0")
    return Release(refs or named)


def _request(release: Release, settings: Mapping[str, Value]) -> PromotionRequest:
    """Return the request, after every check that needs no server.

    Raises:
        InvalidReference: a ref can't be one of any kind.
        MissingEnvironment: there is no destination.
    """
    for ref in release.refs:
        _check_ref(ref)
    destination = _end(settings["destination"], release.destination)
    if not destination:
        raise MissingEnvironment(
            "no destination is given",
            fix="pass --destination, or set IMGCTL_DEFAULT_DESTINATION",
        )
    return PromotionRequest(
        refs=release.refs,
        source=_end(settings["source"], release.source),
        destination=destination,
        # A call that is made again after a refused token must not be a second promotion.
        request_id=f"cli-{os.urandom(16).hex()}",
    )


def _check_plan_out(path: Path, *, plan: bool) -> None:
    """Refuse what no plan can be saved as, before any network is touched.

    Raises:
        UsageError: there is no plan to save, or that is no file.
        InvalidSetting: it can't be written.
    """
    from imgctl_cli import planfile

    if not plan:
        raise click.UsageError("--plan-out saves a plan: it goes with --plan")
    planfile.check(path)


def _end(setting: Value, released: str) -> str:
    """Return an environment's name: a flag wins over the release file, and it over the rest."""
    return setting.text if setting.origin is Origin.FLAG or not released else released


def _check_ref(ref: str) -> None:
    """Refuse what is a ref in no grammar; which kinds there are, only the server knows."""
    shown = one_line(ref)
    if not ref.strip():
        raise InvalidReference("the ref is empty", fix="say what to promote: myapp:v1.0.0")
    if shown != ref:
        raise InvalidReference(
            f"{shown!r} is no ref: it has characters in it that can't be seen",
            fix="type it by hand",
        )
    if ":" not in ref and "@" not in ref:
        raise InvalidReference(
            f"{shown!r} has neither a tag nor a digest, and there is no default one",
            fix=f"add one: {shown}:v1.0.0, or {shown}@sha256:…",
        )


def _showing_token(
    session: Session, call: Callable[[Client], T], show_token: bool, as_json: bool
) -> T:
    """Make the first call, and show the token it was made with, whether it fails or not."""
    try:
        return session.ask(call)
    except ImgctlError:
        if show_token and as_json:
            from imgctl_cli.output import json

            click.echo(json.document({"token": session.token}))
        raise
    finally:
        if show_token and not as_json:
            click.echo(session.token)


def _planned(
    session: Session,
    request: PromotionRequest,
    plan_out: Path | None,
    show_token: bool,
    as_json: bool,
) -> PlanReport:
    """Ask for the plan, and save it with every row when it is wanted in a file."""
    if plan_out is None:
        return _showing_token(session, lambda api: api.plan(request), show_token, as_json)
    from imgctl_cli import planfile

    messages = _showing_token(
        session, lambda api: begun(api.export_plan(request)), show_token, as_json
    )
    return planfile.save(messages, plan_out)


def _conclude_plan(report: PlanReport, *, as_json: bool, token: str) -> int:
    if as_json:
        from imgctl_cli.output import json

        click.echo(json.plan(report, token))
    else:
        for line in text.plan(report):
            click.echo(line)
        errors.notes_of(report.items)
    code = exits.of_plan(report)
    if code != exits.OK:
        errors.of_items(report.items, as_json=as_json)
    return code
