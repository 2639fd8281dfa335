"""`imgctl audit`: read a server's audit log, on the machine where it lies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from imgctl_cli import exits
from imgctl_cli.main import HelpfulGroup
from imgctl_cli.options import output_options
from imgctl_cli.output import json
from imgctl_core import audit
from imgctl_core.models import JSON
from imgctl_core.text import one_line

_file_option = click.option(
    "--file",
    type=click.Path(path_type=Path),
    envvar="IMGCTL_AUDIT_LOG",
    show_envvar=True,
    metavar="FILE",
    help="The audit log; by default $XDG_STATE_HOME/imgctl/audit.jsonl.",
)


@click.group("audit", cls=HelpfulGroup)
def command() -> None:
    """Show or verify an audit log."""


@command.command("show")
@_file_option
@click.option("--event", metavar="NAME", help="Only these events; 'promotion.*' for all such.")
@click.option("--actor", metavar="TEXT", help="Only of actors whose name, email or subject it is.")
@click.option("--id", "promotion", metavar="ID", help="Only of this promotion.")
@click.option("--destination", "-d", metavar="NAME", help="Only of promotions to it.")
@click.option(
    "--since",
    type=click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")),
    metavar="TIME",
    help="Only from then on, UTC: 2026-10-01 or 2026-10-01T08:00:00.",
)
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@output_options
def show(
    file: Path | None,
    event: str | None,
    actor: str | None,
    promotion: str | None,
    destination: str | None,
    since: datetime | None,
    last: int | None,
    output: str,
) -> int:
    """Show the records of an audit log, oldest first."""
    start = since.replace(tzinfo=UTC) if since else None
    chosen: Iterable[Mapping[str, JSON]] = (
        record
        for record in audit.read(_path(file))
        if _event_is(record, event)
        and _actor_is(record, actor)
        and (promotion is None or record.get("audit_id") == promotion)
        and (destination is None or record.get("destination") == destination)
        and (start is None or _time(record) >= start)
    )
    if last is not None:
        chosen = deque(chosen, maxlen=last)
    if output == "json":
        click.echo(json.document({"records": [dict(record) for record in chosen]}))
    else:
        for record in chosen:
            click.echo("  ".join(_line(record)))
    return exits.OK


@command.command("verify")
@_file_option
@click.option(
    "--expect-head",
    metavar="HASH",
    default="",
    help="A hash that must be in the log: one kept elsewhere shows that no tail was cut off.",
)
@output_options
def verify(file: Path | None, expect_head: str, output: str) -> int:
    """Check that no record of an audit log was changed, moved, added or taken out."""
    path = _path(file)
    result = audit.verify(path, expect_head.strip().lower())
    if output == "json":
        click.echo(
            json.document(
                {
                    "sound": not result.problems,
                    "records": result.records,
                    "head": result.head,
                    "problems": list(result.problems),
                }
            )
        )
    elif result.problems:
        click.echo(f"not sound: {one_line(str(path))}")
        for problem in result.problems:
            click.echo(f"  {one_line(problem)}")
    else:
        click.echo(f"sound: {result.records} records, head {result.head}")
    return exits.FAILED if result.problems else exits.OK


def _path(file: Path | None) -> Path:
    if file is not None:
        return file
    return audit.default_audit_log()


def _event_is(record: Mapping[str, JSON], wanted: str | None) -> bool:
    event = str(record.get("event"))
    if wanted is None:
        return True
    return event.startswith(wanted[:-1]) if wanted.endswith("*") else event == wanted


def _actor_is(record: Mapping[str, JSON], wanted: str | None) -> bool:
    if wanted is None:
        return True
    actor = record.get("actor")
    return isinstance(actor, dict) and wanted in (
        actor.get("name"),
        actor.get("email"),
        actor.get("sub"),
    )


def _time(record: Mapping[str, JSON]) -> datetime:
    """Return when a record was written; one that doesn't say so passes every filter."""
    try:
        moment = datetime.fromisoformat(str(record.get("ts")))
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _line(record: Mapping[str, JSON]) -> Iterator[str]:
    yield f"{record.get('seq')!s:>5}"
    yield one_line(str(record.get("ts"))[:19]) + "Z"
    yield f"{one_line(str(record.get('event'))):<20}"
    actor = record.get("actor")
    if isinstance(actor, dict):
        yield one_line(str(actor.get("email") or actor.get("name") or actor.get("sub") or "-"))
    yield from (one_line(part) for part in _about(record))


def _about(record: Mapping[str, JSON]) -> Iterator[str]:
    refs = record.get("refs")
    items = record.get("items")
    if isinstance(items, list):
        refs = [item.get("ref") for item in items if isinstance(item, dict)]
    if isinstance(refs, list) and refs:
        yield ", ".join(str(ref) for ref in refs)
    if record.get("destination"):
        yield f"{record.get('source') or '?'} -> {record['destination']}"
    # What was tried, and why it was denied.
    yield from (
        str(record[key]) for key in ("method", "why", "message", "cause") if record.get(key)
    )
    if record.get("audit_id"):
        yield str(record["audit_id"])
