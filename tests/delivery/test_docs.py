"""The pages are true: links lead somewhere, examples run, tables name what there is."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import imgctl_core
from imgctl_cli.main import COMMANDS
from imgctl_cli.settings import SETTINGS
from imgctl_core import errors
from imgctl_core.audit.events import EVENTS
from imgctl_core.models import Outcome
from imgctl_core.plugins.classify import RESERVED_FAMILIES
from imgctl_core.settings import WITH_VARIABLES, EnvironmentTable

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pages(root: Path) -> list[Path]:
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def links(page: Path) -> Iterator[str]:
    for match in _LINK.finditer(_FENCE.sub("", page.read_text())):
        if "://" not in match[1]:
            yield match[1]


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def code(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_every_link_leads_somewhere(root: Path) -> None:
    broken = []
    for page in pages(root):
        for link in links(page):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(root)}: {link}")
    assert broken == []


def test_every_page_is_in_the_index(root: Path) -> None:
    index = root / "docs" / "README.md"
    reached = {(index.parent / link).resolve() for link in links(index)}
    assert set((root / "docs").rglob("*.md")) - {index} <= reached


def test_documentation_has_four_parts(root: Path) -> None:
    for part in ("tutorial", "how-to", "reference", "explanation"):
        assert list((root / "docs" / part).glob("*.md")), part


def test_pages_told_from_the_code_are_fresh(script: Callable[[str], ModuleType]) -> None:
    assert script("reference").stale() == [], "run `make docs`"


def test_a_stale_page_is_noticed(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = script("reference")
    monkeypatch.setattr(errors.Conflict, "__doc__", "Something new.")
    assert reference.stale() == ["errors.md"]


def test_every_reason_is_documented(root: Path) -> None:
    text = (root / "docs/reference/errors.md").read_text()
    for cls in errors.all_errors():
        assert f"| `{cls.reason}` |" in text


def test_every_event_is_documented_and_every_one_written_is_known(root: Path) -> None:
    text = (root / "docs/reference/audit.md").read_text()
    rows = text.split("| event | when |\n|---|---|\n")[1].split("\n\n")[0].splitlines()
    names = [re.findall(r"`([a-z_.]+)`", row.split("|")[1]) for row in rows]
    assert {name for row in names for name in row} == EVENTS
    written = {
        call.args[0].value
        for path in (root / "imgctl_core").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"record", "_append", "_quietly", "_audit", "_denied"}
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert {"server.started", "plan.made", "auth.checked", "authn.denied"} < written <= EVENTS


def test_every_command_is_documented(root: Path) -> None:
    text = (root / "docs/reference/cli.md").read_text()
    for name in COMMANDS:
        assert f"\n## imgctl {name}" in text, name


def test_every_client_setting_is_documented(root: Path) -> None:
    text = (root / "docs/reference/settings.md").read_text().split("## Client")[1]
    text = text.split("## Server")[0]
    for setting in SETTINGS:
        (row,) = re.findall(rf"^\| `{setting.name}` \|.*$", text, re.MULTILINE)
        for word in (*setting.flags, setting.variable):
            assert f"`{word}`" in row
        if setting.default:
            assert f"`{setting.default}`" in row


def test_every_server_setting_is_documented(root: Path) -> None:
    text = (root / "docs/reference/settings.md").read_text()
    for prefix, table in WITH_VARIABLES.items():
        rows = "\n".join(line for line in text.splitlines() if line.startswith(f"| `[{prefix}]"))
        for name in set(table.model_fields) - {"tables"}:
            assert re.search(rf"\b{name}`", rows), name
            assert f"`{table.variable(name)}`" in rows
    for name in set(EnvironmentTable.model_fields) - {"endpoints"}:
        assert f"`[environments.<name>] {name}`" in text


def test_every_endpoint_key_is_documented(root: Path) -> None:
    from imgctl_backends.image.endpoint import ImageEndpoint
    from imgctl_backends.spa.endpoint import SpaEndpoint
    from imgctl_backends.spa.live.settings import Live

    text = (root / "docs/reference/settings.md").read_text()
    for model, head in (
        (ImageEndpoint, "### Images"),
        (SpaEndpoint, "### SPA builds"),
        (Live, "### How SPA builds go live"),
    ):
        section = text.split(head)[1].split("\n### ")[0]
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}`" in section, name


def test_the_example_settings_file_is_accepted(root: Path, tmp_path: Path) -> None:
    from imgctl_core.settings import load_settings

    (example,) = code(root / "docs/reference/settings.md", "toml")
    file = tmp_path / "imgctl.toml"
    file.write_text(example)
    settings = load_settings(config=file, environ={})
    assert settings.server.default_source == "dev"
    assert settings.environments["prod"].promote_from == ("dev",)


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/run-a-server.md"])
def test_the_server_that_pages_set_up_starts(root: Path, page: str, tmp_path: Path) -> None:
    from imgctl_core.server.assemble import configure_plugins
    from imgctl_core.settings import load_settings

    (block,) = [text for text in code(root / page, "sh") if "OIDC_ISSUER_URL" in text]
    lines = [line.removeprefix("export ") for line in block.splitlines() if line[:7] == "export "]
    environ = dict(pair.split("=", 1) for line in lines for pair in line.split())
    plugins = configure_plugins(load_settings(environ=environ))
    assert plugins.environments == ("dev", "prod")
    assert all(promoter.endpoints for promoter in plugins.promoters.values())


def test_every_audit_event_is_documented(root: Path) -> None:
    text = (root / "docs/reference/audit.md").read_text()
    found = {f"promotion.{outcome.value}" for outcome in Outcome if outcome is not Outcome.DENIED}
    core = root / "imgctl_core"
    for path in [core / "journal.py", *core.glob("audit/*.py"), *core.glob("server/*.py")]:
        words = r'"((?:server|auth|authn|authz|plan|promotion|audit)\.[a-z_]+)"'
        found |= set(re.findall(words, path.read_text()))
    found -= {"audit.jsonl"}
    assert {"server.started", "audit.rotated", "promotion.requested"} <= found
    for event in found:
        assert f"`{event}`" in text, event


def test_every_public_name_of_the_plugin_interface_is_documented(root: Path) -> None:
    text = (root / "docs/reference/plugins.md").read_text()
    for name in set(imgctl_core.__all__) - {"__version__"}:
        assert f"`{name}`" in text, name
    for family in RESERVED_FAMILIES:
        assert re.search(rf"\b{family}\b", text), family


def test_every_rpc_is_documented(root: Path) -> None:
    proto = (root / "proto/imgctl/v1/imgctl.proto").read_text()
    text = (root / "docs/reference/wire.md").read_text()
    rpcs = re.findall(r"^  rpc (\w+)\(", proto, re.MULTILINE)
    assert len(rpcs) == 13
    for rpc in rpcs:
        assert f"`{rpc}`" in text


def test_every_make_target_that_pages_name_exists(root: Path) -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (root / "Makefile").read_text(), re.MULTILINE))
    named = set()
    for page in pages(root):
        text = page.read_text()
        for words in re.findall(r"(?:`|^)make ((?:[a-z-]+ ?)+)", text, re.MULTILINE):
            named |= set(words.split())
    assert {"demo", "test", "build"} <= named
    assert named <= targets


def test_readme_and_how_to_show_the_example_as_it_is(root: Path) -> None:
    example = root / "docs/examples/imgctl-folder"
    module = (example / "imgctl_folder.py").read_text()
    (shown,) = code(root / "README.md", "python")
    assert shown in module
    how_to = root / "docs/how-to/write-a-plugin.md"
    assert code(how_to, "python")[0] == module
    assert code(how_to, "python")[1] == (example / "test_imgctl_folder.py").read_text()
    assert tomllib.loads(code(how_to, "toml")[0]) == tomllib.loads(
        (example / "pyproject.toml").read_text()
    )


def test_the_notifier_of_the_how_to_is_a_notifier(root: Path) -> None:
    from imgctl_core.plugins.classify import check_notifier

    space: dict[str, object] = {}
    exec(code(root / "docs/how-to/write-a-plugin.md", "python")[2], space)
    register = space["imgctl_notifiers"]
    assert inspect.isfunction(register)
    (cls,) = register()
    assert check_notifier(cls).kind == "log"


def test_production_page_answers_the_six(root: Path) -> None:
    text = (root / "docs/how-to/production.md").read_text().lower()
    heads = re.findall(r"^## \d\. (.+)$", text, re.MULTILINE)
    wanted = ("tls", "load balancer", "firewall", "key rotation", "failed logins", "audience")
    assert len(heads) == len(wanted)
    for head, word in zip(heads, wanted, strict=True):
        assert word in head


def test_licence_is_apache(root: Path) -> None:
    text = (root / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
