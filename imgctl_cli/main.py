"""The entry point: the table of commands, and the one place where errors end.

Importing this module imports click and nothing else of weight: a command's module is
imported when that command runs, and help needs none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import click

#: name: (module that has it as `command`, its line in the help)
COMMANDS: Final = {
    "promote": ("imgctl_cli.commands.promote", "Promote an artifact to an environment."),
    "activate": ("imgctl_cli.commands.activate", "Make a version live in an environment."),
    "watch": ("imgctl_cli.commands.watch", "Follow a promotion to its end."),
    "cancel": ("imgctl_cli.commands.cancel", "Ask a running promotion to stop."),
    "manifest": ("imgctl_cli.commands.manifest", "Show what a promotion left, row by row."),
    "login": ("imgctl_cli.commands.login", "Log in now, and show who you are."),
    "logout": ("imgctl_cli.commands.logout", "Forget cached tokens."),
    "auth-check": ("imgctl_cli.commands.auth_check", "Show who you are to the server."),
    "environments": ("imgctl_cli.commands.environments", "List the server's environments."),
    "plugins": ("imgctl_cli.commands.plugins", "List the server's plugins."),
    "config": ("imgctl_cli.commands.config", "Show this client's settings."),
    "audit": ("imgctl_cli.commands.audit", "Show or verify an audit log."),
    "server": ("imgctl_cli.commands.server", "Run the imgctl server."),
    "sandbox": ("imgctl_cli.sandbox", "Try imgctl out in a world of its own."),
    "version": ("imgctl_cli.commands.version", "Show the version."),
}


class HelpfulGroup(click.Group):
    """A group that, asked nothing, shows its help as the usage error that this is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **kwargs})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)


class LazyGroup(HelpfulGroup):
    """The commands of the table, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _print_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        from imgctl_core._version import __version__

        click.echo(f"imgctl {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    epilog="Settings come from flags, the environment and a file: see 'imgctl config show'.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Promote artifacts from one environment to another, byte for byte.

    \b
    imgctl promote myapp:v1.0.0 --source dev --destination prod
    imgctl promote spa:shop:1.4.2 -d prod --plan
    """  # noqa: D301 - \b keeps lines apart in click's help


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing is ever raised."""
    argv = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        # What can't be encoded is shown escaped: showing must never fail.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    try:
        code = cli.main(args=argv, prog_name="imgctl", standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Nobody reads any more. Python's own flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - this is where every error ends
        from imgctl_cli.boundary import report

        return report(error, argv)
    return code if isinstance(code, int) else 0
