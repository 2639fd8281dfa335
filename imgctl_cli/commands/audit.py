"""`imgctl audit`: read a server's audit log, on the machine where it lies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import click

from imgctl_cli import exits
from imgctl_cli.auditfilter import Filter, refs_of
from imgctl_cli.auditwords import chain_hash, moment
from imgctl_cli.main import HelpfulGroup
from imgctl_cli.options import output_options
from imgctl_cli.output import json
from imgctl_core import audit
from imgctl_core.models import JSON
from imgctl_core.text import one_line


def _files(function: Callable[..., int]) -> Callable[..., int]:
    """Let a command take the log's files: as arguments, or the one log by option."""
    arguments = click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILES")
    option = click.option(
        "--file",
        type=click.Path(path_type=Path),
        envvar="IMGCTL_AUDIT_LOG",
        show_envvar=True,
        metavar="FILE",
        help="The audit log; by default $XDG_STATE_HOME/imgctl/audit.jsonl.",
    )
    return arguments(option(function))


@click.group("audit", cls=HelpfulGroup)
def command() -> None:
    """Show or verify an audit log."""


@command.command("show")
@_files
@click.option("--event", metavar="NAME", help="Only these events; 'promotion.*' for all such.")
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
    help="Only from then on: 2026-10-01 or 2026-10-01T08:00:00 in UTC, with an offset as in "
    "2026-10-01T08:00+02:00, or 2h or 7d for so long ago.",
)
@click.option("--until", callback=moment, metavar="TIME", help="Only before then.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@output_options
def show(
    files: tuple[Path, ...],
    file: Path | None,
    since: datetime | None,
    until: datetime | None,
    last: int | None,
    output: str,
    **wanted: str | None,
) -> int:
    """Show the records of an audit log, oldest first.

    FILES are the files that it was before and the one that it is, the oldest first.
    """
    passes = Filter(since=since, until=until, **wanted)
    records = audit.read(*_paths(files, file))
    chosen: Iterable[Mapping[str, JSON]] = (record for record in records if passes(record))
    if last is not None:
        chosen = deque(chosen, maxlen=last)
    if output == "json":
        click.echo(json.document({"records": [dict(record) for record in chosen]}))
    else:
        for record in chosen:
            click.echo("  ".join(_line(record)))
    return exits.OK


@command.command("verify")
@_files
@click.option(
    "--expect-head",
    callback=chain_hash,
    metavar="HASH",
    help="A hash that must be in the log: one kept elsewhere shows that no tail was cut off.",
)
@output_options
def verify(files: tuple[Path, ...], file: Path | None, expect_head: str, output: str) -> int:
    """Check that no record of an audit log was changed, moved, added or taken out.

    FILES are the files that it was before and the one that it is, the oldest first.
    """
    paths = _paths(files, file)
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


def _paths(files: tuple[Path, ...], file: Path | None) -> tuple[Path, ...]:
    return files or ((file or audit.default_audit_log()),)


def _line(record: Mapping[str, JSON]) -> Iterator[str]:
    yield f"{record.get('seq')!s:>5}"
    yield one_line(str(record.get("ts"))[:19]) + "Z"
    yield f"{one_line(str(record.get('event'))):<20}"
    actor = record.get("actor")
    if isinstance(actor, dict):
        yield one_line(str(actor.get("email") or actor.get("name") or actor.get("sub") or "-"))
    yield from (one_line(part) for part in _about(record))


def _about(record: Mapping[str, JSON]) -> Iterator[str]:
    if refs := refs_of(record):
        yield ", ".join(str(ref) for ref in refs)
    if record.get("destination"):
        yield f"{record.get('source') or '?'} -> {record['destination']}"
    # What was tried, and why it was denied.
    yield from (
        str(record[key]) for key in ("method", "why", "message", "cause") if record.get(key)
    )
    if record.get("audit_id"):
        yield str(record["audit_id"])
