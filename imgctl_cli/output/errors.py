"""How an error looks: three lines for people, one object for machines."""

from __future__ import annotations

from collections.abc import Sequence

import click

from imgctl_core.errors import PromotionError
from imgctl_core.models import Failure, ItemResult, PlannedItem
from imgctl_core.text import one_line


def failure(failure: Failure, *, as_json: bool) -> None:
    """Show a failure on stderr."""
    if as_json:
        from imgctl_cli.output import json

        click.echo(json.failure(failure), err=True)
    else:
        click.echo(as_text(failure), err=True)


def of_items(
    items: Sequence[ItemResult] | Sequence[PlannedItem], id: str = "", *, as_json: bool
) -> None:
    """Show why a promotion, or a plan of one, did not end well."""
    failed = [(item.text, item.error) for item in items if item.error is not None]
    if len(failed) == 1:
        failure(_with_id(failed[0][1], id), as_json=as_json)
    elif as_json or not failed:
        # One object, whatever happened; the items of the result have the details.
        failure(_summary(items, id), as_json=as_json)
    else:
        for ref, error in failed:
            told = Failure(error.reason, f"{ref}: {error.message}", error.fix, error.id)
            failure(_with_id(told, id), as_json=False)


def notes_of(items: Sequence[ItemResult] | Sequence[PlannedItem]) -> None:
    """Show on stderr what the items' outcomes alone do not say."""
    for item in items:
        for note in item.notes:
            click.echo(f"note: {one_line(item.text)}: {one_line(note)}", err=True)


def _with_id(error: Failure, id: str) -> Failure:
    return Failure(error.reason, error.message, error.fix, error.id or id)


def _summary(items: Sequence[ItemResult] | Sequence[PlannedItem], id: str) -> Failure:
    bad = sum(1 for item in items if item.outcome is None or not item.outcome.good)
    return Failure(
        PromotionError.reason,
        f"{bad} of {len(items)} items can't be promoted or were not",
        "see what the result says of each",
        id,
    )


def as_text(failure: Failure) -> str:
    """Return a failure as lines: what happened, what to do, and what to quote."""
    lines = [f"error: {one_line(failure.message)}"]
    if failure.fix:
        lines.append(f"fix: {one_line(failure.fix)}")
    id = f"id: {one_line(failure.id)} " if failure.id else ""
    lines.append(f"{id}code: {one_line(failure.reason)}")
    return "\n".join(lines)
