"""`imgctl promote`: the main job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgctl_cli import running
from imgctl_cli.checks import check_promotable, require_destination
from imgctl_cli.connection import Connection, Session, connection_options
from imgctl_cli.options import Notes, output_options
from imgctl_cli.release import Release, read_release
from imgctl_cli.settings import ClientCommand, Origin, Value, setting_options, values
from imgctl_core import validate
from imgctl_core.models import OnConflict, PlanReport, PromotionRequest

if TYPE_CHECKING:
    from imgctl_core.client.api import Client


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
@running.plan_option
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
@click.option("--strict", is_flag=True, help="Make findings about an SPA build errors.")
@running.show_token_option
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
    strict: bool,
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
    notes = Notes(as_json=output == "json")
    settings = values(ctx)
    release = _release(refs, named, release_file)
    request = replace(
        _request(release, settings),
        on_conflict=OnConflict(on_conflict),
        fail_fast=fail_fast,
        deep=deep,
        options=_options(referrers, strict=strict),
    )
    if plan_out is not None:
        _check_plan_out(plan_out, plan=plan)
    how = {"as_json": output == "json", "show_token": show_token}
    with Session(Connection.of(settings, notes), notes) as session:
        if plan:
            return running.show_plan(session, _planning(request, plan_out), **how)
        return running.run(session, lambda api: api.start(request), **how)


def _options(referrers: str | None, *, strict: bool) -> dict[str, str]:
    """Return what single kinds of artifact understand, of what was asked for."""
    options = {"referrers": referrers} if referrers else {}
    return {**options, "lint": "strict"} if strict else options


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
        RequestError: an environment can't be one, or there are too many refs.
    """
    for ref in release.refs:
        check_promotable(ref)
    request = PromotionRequest(
        refs=release.refs,
        source=_end(settings["source"], release.source),
        destination=require_destination(_end(settings["destination"], release.destination)),
        request_id=running.new_request_id(),
    )
    return validate.promotion(request)


def _planning(request: PromotionRequest, plan_out: Path | None) -> Callable[[Client], PlanReport]:
    """Return how to get the plan; with every row of it, saved, when a file is named."""
    if plan_out is None:
        return lambda api: api.plan(request)
    from imgctl_cli import planfile

    return lambda api: planfile.save(api.export_plan(request), plan_out)


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
