"""Writes the pages of docs/reference that can be told from the code alone.

reference.py            write them (run by `make docs`)
reference.py --check    say which are not as they would be written
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from imgctl_cli import exits
from imgctl_cli.connection import CONNECTION
from imgctl_cli.main import cli
from imgctl_core.errors import ImgctlError, all_errors
from imgctl_core.server.status import code_for

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"

_NOTE = "<!-- Written by `make docs` from the code. Change that instead. -->\n"

ERRORS = """\
# Errors and exit codes

Every error says in one sentence what is wrong and why, and in another what to do. With
`-o json` it is one object on stderr:

```json
{"schema_version": 1, "error": {"reason": "NOT_FOUND", "message": "…", "fix": "…", "id": ""}}
```

`reason` never changes once released. On the wire an error is a `google.rpc.Status` with one
`google.rpc.ErrorInfo`: the reason, the domain `imgctl`, and `fix` and `id` in its metadata.
`id` is the promotion's, or an incident's to look for in the server's log. An error marked
*temporary* may go away by itself: the same request may succeed later.

## Exit codes

| code | when |
|---|---|
"""

ERRORS_TABLE = """
`imgctl auth-check` exits with 0 or 1, and with 2 when it is called wrongly. `--plan` and `watch`
exit as the promotion would. When several items end in different ways the code is 1.

## Reasons

| reason | when | gRPC status | exit code |
|---|---|---|---|
"""

CLI = """\
# Commands

Results go to stdout, everything else to stderr. `-o json` prints one object whose shape is
stable: it has a `schema_version`, and names as in [the wire contract](wire.md). Text is for
people, and may change. The object of a promotion has `audit_head`, the hash of its last record
in the server's audit log, to be [kept elsewhere](../how-to/production.md#and-then), and
`audit_degraded`, which is true when the record is not written yet, or not in every copy that
counts; `audit_head` is empty while there is none. What the exit codes mean stands in
[errors.md](errors.md), what a setting means in [settings.md](settings.md).
"""


def errors_page() -> str:
    """Return docs/reference/errors.md."""
    doc = inspect.getdoc(exits) or ""
    codes = re.findall(r"^ {4}(\d+) +(.+)$", doc, re.MULTILINE)
    text = _NOTE + ERRORS + "".join(f"| {code} | {when} |\n" for code, when in codes)
    return text + ERRORS_TABLE + "".join(_error_row(cls) for cls in all_errors())


def _error_row(cls: type[ImgctlError]) -> str:
    when = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
    if cls.temporary:
        when += " *Temporary.*"
    code = code_for(cls).name
    return f"| `{cls.reason}` | {when} | `{code}` | {exits.of_error(cls)} |\n"


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    found = dict(commands())
    text = _NOTE + CLI + "".join(_command_part(*pair) for pair in found.items())
    shared = [param for param in found["imgctl promote"].params if param.name in CONNECTION]
    return text + "\n## Connection flags\n" + _table(shared)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its words."""
    root = click.Context(cli, info_name="imgctl")
    yield from _below("imgctl", cli, root)


def _below(
    words: str, group: click.Group, context: click.Context
) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            raise LookupError(f"{words} lists {name}, and has no such command")
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            yield from _below(f"{words} {name}", command, inner)
        else:
            yield f"{words} {name}", command


def _command_part(words: str, command: click.Command) -> str:
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    own = [param for param in command.params if param.name not in CONNECTION]
    usage = " ".join([words, *map(_argument, arguments)])
    text = f"\n## {words}\n\n```\n{usage}\n```\n\n{_prose(command.help or '')}\n"
    text += _table(own)
    if len(own) < len(command.params):
        text += "\nAnd the [connection flags](#connection-flags).\n"
    return text


def _table(params: Sequence[click.Parameter]) -> str:
    options = [param for param in params if isinstance(param, click.Option) and not param.hidden]
    if not options:
        return ""
    rows = "".join(f"| {_flags(option)} | {_meaning(option)} |\n" for option in options)
    return "\n| flag | meaning |\n|---|---|\n" + rows


def _argument(argument: click.Argument) -> str:
    if argument.metavar:
        return argument.metavar
    name = (argument.name or "").upper()
    text = name if argument.required else f"[{name}]"
    return f"{text}..." if argument.nargs == -1 else text


def _prose(help_text: str) -> str:
    """Return a help text as Markdown; what click is told to leave as it is becomes code."""
    parts = []
    for part in inspect.cleandoc(help_text).split("\n\n"):
        if part.startswith("\b\n"):
            parts.append("```\n" + inspect.cleandoc(part.removeprefix("\b\n")) + "\n```")
        else:
            parts.append(" ".join(part.split()))
    return "\n\n".join(parts)


def _flags(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag or option.count:
        return names
    if isinstance(option.type, click.Choice):
        return f"{names} `{'` or `'.join(map(str, option.type.choices))}`"
    return f"{names} {option.metavar or option.type.name.upper()}"


def _meaning(option: click.Option) -> str:
    # Some commands write variable and default into their help, click's own way.
    text, _, extra = (option.help or "").partition("  [")
    notes = extra.rstrip("]").split("; ") if extra else []
    if isinstance(option.envvar, str):
        notes.append(f"env var: {option.envvar}")
    if option.show_default and isinstance(option.default, str | int):
        notes.append(f"default: {option.default}")
    text = text.strip().replace("|", "\\|")
    notes = [re.sub(r": (.+)", r": `\1`", note) for note in notes]
    return f"{text} ({'; '.join(notes)})" if notes else text


PAGES = {"errors.md": errors_page, "cli.md": cli_page}


def stale() -> list[str]:
    """Return the names of pages that differ from what the code says."""
    return [
        name
        for name, page in PAGES.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != page()
    ]


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        found = stale()
        sys.stderr.writelines(
            f"docs/reference/{name} is stale: run `make docs`\n" for name in found
        )
        return 1 if found else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
