"""A plan in a file, with every row of it: there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import click

from imgctl_cli.output import json, rows
from imgctl_core.errors import InvalidSetting, StreamCut
from imgctl_core.models import ManifestRow, PlanReport


def check(path: Path) -> None:
    """Find out whether a plan can be saved there, before anybody is asked for one.

    Raises:
        UsageError: it is no name of a file.
        InvalidSetting: no file can be written there.
    """
    if str(path) == "-":
        raise click.UsageError("--plan-out takes the name of a file; -o json prints the plan")
    if path.exists() and not path.is_file():
        raise _unwritable(path, "it is there, and no file")
    if not path.parent.is_dir():
        raise _unwritable(path, "there is no such folder")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, "its folder is not yours to write to")


def save(messages: Iterable[ManifestRow | PlanReport], path: Path) -> PlanReport:
    """Save a plan as it comes, in the place of what was there, and return it without rows.

    Raises:
        StreamCut: the plan itself, which comes last, did not come.
        InvalidSetting: it can't be written.
    """
    # Beside it: a rename is one step only within one file system.
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with temporary.open("x", encoding="ascii") as file:
            report = _write(messages, file)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return report


def _write(messages: Iterable[ManifestRow | PlanReport], file: TextIO) -> PlanReport:
    """Write one object: what `-o json` prints, and `manifests`, which has each item's rows."""
    reports: list[PlanReport] = []

    def apart() -> Iterator[ManifestRow]:
        for message in messages:
            if isinstance(message, PlanReport):
                reports.append(message)
            else:
                yield message

    file.write('{"manifests": ')
    file.writelines(rows.by_ref(apart()))
    if not reports:
        raise StreamCut("the connection ended before the plan was whole")
    file.write(f", {json.plan(reports[-1]).removeprefix('{')}\n")
    return reports[-1]


def _unwritable(path: Path, why: str) -> InvalidSetting:
    return InvalidSetting(
        f"the plan can't be saved as {path}: {why}",
        fix="name a file with --plan-out, in a folder of yours that has room",
    )
