"""`imgctl version`."""

from __future__ import annotations

import platform

import click

from imgctl_cli import exits
from imgctl_cli.options import output_options
from imgctl_core._version import __version__


@click.command("version")
@output_options
def command(output: str) -> int:
    """Show the version of imgctl, and of the Python it runs on."""
    if output == "json":
        from imgctl_cli.output import json

        click.echo(json.document({"version": __version__, "python": platform.python_version()}))
    else:
        click.echo(f"imgctl {__version__} (Python {platform.python_version()})")
    return exits.OK
