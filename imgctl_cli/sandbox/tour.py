"""The tour: the main job and its refusals, through the ordinary command line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from imgctl_cli import exits

if TYPE_CHECKING:
    from imgctl_cli.sandbox.world import Sandbox


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop of the tour: what it shows, the command, and how that must end."""

    title: str
    arguments: tuple[str, ...]
    expected: int = exits.OK


def take_tour(sandbox: Sandbox) -> int:
    """Run every stop and return 0 when each ended as it must, else 1."""
    environment = {**os.environ, **sandbox.environment}
    failed = 0
    for stop in _stops(sandbox):
        click.secho(f"\n# {stop.title}", bold=True)
        click.echo(f"$ imgctl {shlex.join(stop.arguments)}")
        sys.stdout.flush()
        done = subprocess.run(
            [sys.executable, "-m", "imgctl_cli", *stop.arguments], env=environment, check=False
        )
        if stop.expected != exits.OK and done.returncode == stop.expected:
            click.echo(f"(exit code {done.returncode}, as it should be)")
        elif done.returncode != stop.expected:
            failed += 1
            click.echo(f"(exit code {done.returncode}; it should be {stop.expected})")
    click.secho(
        f"\n# {failed} stops did not end as they should." if failed else "\n# That was the tour.",
        bold=True,
    )
    return exits.FAILED if failed else exits.OK


def _stops(sandbox: Sandbox) -> tuple[Stop, ...]:
    image = ("promote", sandbox.image, "--source", "dev", "--destination", "prod")
    return (
        Stop("Who am I to the server?", ("auth-check",)),
        Stop("What would a promotion do?", (*image, "--plan")),
        Stop("Promote a multi-architecture image.", image),
        Stop("Promote it again: nothing to do.", image),
        Stop(
            "The destination holds something else under this tag: refused, nothing written.",
            ("promote", sandbox.conflict, "--source", "dev", "--destination", "prod"),
            exits.CONFLICT,
        ),
        Stop(
            "Promote an SPA build, entry points last.",
            ("promote", sandbox.build, "--source", "dev", "--destination", "prod"),
        ),
        Stop(
            "Bob is in no group that may: refused.",
            (*image, "--username", "bob", "--pubkey-file", str(sandbox.other_key)),
            exits.NOT_AUTHORIZED,
        ),
        Stop("Every bit of it is on record.", ("audit", "show")),
        Stop("And the record is sound.", ("audit", "verify")),
    )
