"""`imgctl sandbox`: registries, S3, an issuer and a server, in one process."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

import click

from imgctl_cli.options import verbose_option
from imgctl_core.errors import InvalidSetting


@click.command("sandbox")
@click.option("--demo", is_flag=True, help="Take the tour: everything imgctl does, in seconds.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@verbose_option
def command(demo: bool, command: tuple[str, ...]) -> int:
    """Try imgctl out in a world of its own, on this machine alone.

    \b
    imgctl sandbox --demo                 take the tour
    imgctl sandbox -- COMMAND…            run a command in it
    imgctl sandbox                        print its settings and wait

    There are two registries (dev and prod) with a sample image, an S3 endpoint with a
    sample SPA build, an issuer that speaks Dex's SSH login, and an imgctl server. All of
    it is gone when the command ends.
    """  # noqa: D301 - \b keeps lines apart in click's help
    if demo and command:
        raise click.UsageError("--demo takes no command")
    try:
        from imgctl_cli.sandbox.world import Sandbox
        from imgctl_core.server.signals import StopSignals
    except ModuleNotFoundError as error:
        raise InvalidSetting(
            f"the sandbox needs {error.name}, which is not installed",
            fix="install imgctl with its extra: pipx install 'imgctl[sandbox]'",
        ) from error
    with Sandbox() as sandbox:
        if demo:
            from imgctl_cli.sandbox.tour import take_tour

            return take_tour(sandbox)
        if command:
            return _run(command, {**os.environ, **sandbox.environment})
        for name, value in sandbox.environment.items():
            click.echo(f"export {name}={shlex.quote(value)}")
        click.echo("# The sandbox is up until Ctrl-C. Paste the lines above into a shell.")
        with StopSignals() as signals:
            signals.wait()
        return 0


def _run(command: tuple[str, ...], environment: dict[str, str]) -> int:
    try:
        # Ctrl-C goes to the command, which decides; we only wait for it.
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise InvalidSetting(
            f"{command[0]!r} can't be run: {error.strerror}", fix="check its name"
        ) from error
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code
