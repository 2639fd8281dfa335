"""Results for people. Scripts should ask for JSON instead."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgctl_cli.display import size, span
from imgctl_core.models import (
    Action,
    AuthReport,
    EnvironmentInfo,
    Outcome,
    PlannedItem,
    PlanReport,
    PluginInfo,
    Promotion,
)
from imgctl_core.text import one_line

if TYPE_CHECKING:
    from imgctl_core.client.login import Token

#: Steps of one item that a plan shows; builds have thousands.
_STEPS = 20

_WOULD = {
    Outcome.PROMOTED: "would promote",
    Outcome.UNCHANGED: "unchanged",
    Outcome.FAILED: "would fail",
    Outcome.CANCELLED: "would be cancelled",
    Outcome.DENIED: "would be denied",
    Outcome.CONFLICT: "would conflict",
    Outcome.ACTIVATED: "would activate",
}


def promotion(promotion: Promotion) -> Iterator[str]:
    """Yield one line an item: outcome, ref, environment, digest, promotion."""
    for item in promotion.items:
        outcome = item.outcome.value if item.outcome else "running"
        yield (
            f"{outcome} {one_line(item.text)} {_where(promotion)}"
            f"  {one_line(item.digest) or '-'}  {one_line(promotion.id)}"
        )


def plan(report: PlanReport) -> Iterator[str]:
    for item in report.items:
        yield (
            f"{_WOULD[item.outcome]} {one_line(item.text)} {_where(report)}"
            f"  {one_line(item.digest) or '-'}"
        )
        details = _switch(item) if report.action is Action.ACTIVATE else _copy(item)
        yield from (f"  {line}" for line in details)


def _where(shown: Promotion | PlanReport) -> str:
    word = "in" if shown.action is Action.ACTIVATE else "to"
    return f"{word} {one_line(shown.destination)}"


def _copy(item: PlannedItem) -> Iterator[str]:
    if item.current and item.current != item.digest:
        yield f"now there: {one_line(item.current)}"
    if item.outcome is Outcome.PROMOTED:
        yield f"{size(item.bytes_to_copy)} to copy, {size(item.bytes_present)} already there"
        yield from _steps(item)


def _switch(item: PlannedItem) -> Iterator[str]:
    if item.current != item.digest:
        yield f"live now: {one_line(item.current) or 'nothing'}"
    if item.outcome is Outcome.ACTIVATED:
        yield from _steps(item)


def _steps(item: PlannedItem) -> Iterator[str]:
    for step in item.steps[:_STEPS]:
        amount = f"  {size(step.bytes)}" if step.bytes else ""
        yield f"{one_line(step.action)} {one_line(step.subject)}{amount}"
    if len(item.steps) > _STEPS:
        yield f"and {len(item.steps) - _STEPS} more: -o json shows them all"


def auth(report: AuthReport, now: datetime) -> Iterator[str]:
    actor = report.actor
    yield f"authenticated as {one_line(actor.display)}"
    rows = [
        ("name", actor.name),
        ("email", actor.email),
        ("subject", actor.subject),
        ("issuer", actor.issuer),
        ("groups", ", ".join(actor.groups) or "none"),
        ("let in by", actor.matched_group),
        ("expires", _expiry(actor.expires_at, now)),
        ("may promote to", ", ".join(report.destinations) or "nothing"),
        ("server version", report.server_version),
    ]
    yield from _facts(rows)


def login(token: Token, now: datetime) -> Iterator[str]:
    """Yield what a token says of itself."""
    who = token.text("email") or token.text("name") or token.text("sub")
    yield f"logged in as {one_line(who)}"
    yield from _facts(
        [
            ("name", token.text("name")),
            ("subject", token.text("sub")),
            ("issuer", token.text("iss")),
            ("groups", ", ".join(token.groups) or "none"),
            ("for", ", ".join(token.audiences)),
            ("expires", _expiry(token.expires, now)),
        ]
    )


def _facts(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from (f"  {name + ':':<16}{one_line(text)}" for name, text in rows if text)


def _expiry(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    left = (moment - now).total_seconds()
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, in {span(left)}"


def plugins(infos: Iterable[PluginInfo]) -> Iterator[str]:
    rows = []
    for info in infos:
        kinds = [f"{kind} (promoter)" for kind in info.promoters]
        kinds += [f"{kind} (notifier)" for kind in info.notifiers]
        why = f"at {info.phase}: {info.error}" if info.error else ""
        package = f"{info.distribution} {info.version}".strip()
        rows.append((info.name, info.status.value, package, ", ".join(kinds) or "-", why))
    return table(("PLUGIN", "STATUS", "FROM", "KINDS", "PROBLEM"), rows)


def environments(infos: Iterable[EnvironmentInfo]) -> Iterator[str]:
    rows = []
    for info in infos:
        notes = [
            note
            for note, holds in (
                ("default source", info.default_source),
                ("may promote", info.may_promote),
                ("may replace", info.may_promote and info.allow_replace),
            )
            if holds
        ]
        places = ", ".join(f"{end.kind} {end.address}" for end in info.endpoints)
        rows.append((info.name, places or "-", ", ".join(notes) or "-"))
    return table(("ENVIRONMENT", "ENDPOINTS", "NOTES"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield rows in columns with a head on a terminal, tab-separated and bare elsewhere."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        yield from ("\t".join(row) for row in cells)
        return
    cells.insert(0, list(head))
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()
