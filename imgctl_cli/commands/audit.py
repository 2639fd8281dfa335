"""`imgctl audit`: read a server's audit log, on the machine where it lies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

import click

from imgctl_cli import exits
from imgctl_cli.auditfilter import Filter
from imgctl_cli.auditoptions import event, head, moment
from imgctl_cli.main import HelpfulGroup
from imgctl_cli.options import output_options
from imgctl_cli.output import json, records
from imgctl_core import audit
from imgctl_core.models import JSON
from imgctl_core.text import one_line


def _files(function: Callable[..., int]) -> Callable[..., int]:
    """Let a command take the log's files: as arguments, or the one log by an option."""
    arguments = click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILES")
    option = click.option(
        "--file",
        type=click.Path(path_type=Path),
        envvar="IMGCTL_AUDIT_LOG",
        show_envvar=True,
        metavar="FILE",
        help="The audit log; by default the one that --config names, "
        "or $XDG_STATE_HOME/imgctl/audit.jsonl.",
    )
    config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="IMGCTL_CONFIG",
        show_envvar=True,
        metavar="FILE",
        help="The server's settings file, which may say where its log lies.",
    )
    return arguments(option(config(function)))


@click.group("audit", cls=HelpfulGroup)
def command() -> None:
    """Show or verify an audit log."""


@command.command("show")
@_files
@click.option(
    "--event",
    callback=event,
    metavar="NAME",
    help="Only these events; 'promotion.*' for all such.",
)
@click.option("--actor", metavar="TEXT", help="Only of actors whose name, email or subject it is.")
@click.option("--promotion", "--id", "promotion", metavar="ID", help="Only of this promotion.")
@click.option("--ref", metavar="REF", help="Only about this reference; 'app:*' for all such.")
@click.option("--kind", metavar="KIND", help="Only about artifacts of this kind.")
@click.option("--environment", metavar="NAME", help="Only from it or to it.")
@click.option("--destination", "-d", metavar="NAME", help="Only of promotions to it.")
@click.option(
    "--since",
    callback=moment,
    metavar="TIME",
    help="Only from then on: 2026-10-01, 2026-10-01T08:00:00Z (UTC without a zone), "
    "or an age: 30m, 2h, 7d.",
)
@click.option("--until", callback=moment, metavar="TIME", help="Only before then.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@output_options
def show(
    files: tuple[Path, ...],
    file: Path | None,
    config: Path | None,
    last: int | None,
    output: str,
    since: datetime | None,
    until: datetime | None,
    **wanted: str | None,
) -> int:
    """Show the records of an audit log, oldest first.

    FILES are the files that it was before and the one that it is, the oldest first.
    """
    passes = Filter(since=since, until=until, **wanted)
    found = audit.read(*_paths(files, file, config))
    chosen: Iterable[Mapping[str, JSON]] = (record for record in found if passes(record))
    if last is not None:
        chosen = deque(chosen, maxlen=last)
    if output == "json":
        click.echo(json.document({"records": [dict(record) for record in chosen]}))
    else:
        for record in chosen:
            click.echo(records.line(record))
    return exits.OK


@command.command("verify")
@_files
@click.option(
    "--expect-head",
    callback=head,
    metavar="HASH",
    help="A hash that must be in the log: one kept elsewhere shows that no tail was cut off.",
)
@output_options
def verify(
    files: tuple[Path, ...],
    file: Path | None,
    config: Path | None,
    expect_head: str | None,
    output: str,
) -> int:
    """Check that no record of an audit log was changed, moved, added or taken out.

    FILES are the files that it was before and the one that it is, the oldest first.
    """
    paths = _paths(files, file, config)
    result = audit.verify(*paths, expect_head=expect_head)
    if output == "json":
        click.echo(
            json.document(
                {
                    "sound": not result.problems,
                    "first": result.first,
                    "records": result.records,
                    "head": result.head,
                    "problems": list(result.problems),
                }
            )
        )
    elif result.problems:
        click.echo(f"not sound: {', '.join(one_line(str(path)) for path in paths)}")
        for problem in result.problems:
            click.echo(f"  {one_line(problem)}")
    else:
        before = f" from number {result.first} on" if result.first > 1 else ""
        click.echo(f"sound: {result.records} records{before}, head {result.head}")
    return exits.FAILED if result.problems else exits.OK


def _paths(files: tuple[Path, ...], file: Path | None, config: Path | None) -> tuple[Path, ...]:
    """Return the files to read.

    Raises:
        InvalidSetting: the settings file can't be used.
    """
    if files:
        return files
    if file is not None:
        return (file,)
    if config is None:
        return (audit.default_audit_log(),)
    # Pydantic comes with it, which nobody else here needs.
    from imgctl_core.settings import load_audit_log

    return (load_audit_log(config),)
