"""The original's build and release: what is baked reaches the settings of the client.

The wheels themselves are built in tests/delivery, and the workflow is read there.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from imgctl_cli.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_hook", ROOT / ".ci/build_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_that_can_be_baked_is_a_setting_of_the_client(hook: ModuleType) -> None:
    assert set(hook.NAMES) <= {setting.name for setting in SETTINGS}


@pytest.mark.parametrize(
    "variable", ["BAKE_SOURCE", "BAKE_DESTINATION", "BAKE_CLIENT_ID", "BAKE_CLIENT_SECRET"]
)
def test_make_build_takes(hook: ModuleType, variable: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (line,) = re.findall(r"^BAKE := (.+)$", makefile, re.MULTILINE)
    assert variable.removeprefix("BAKE_") in line.split()
    assert hook.baked({f"IMGCTL_{variable}": "x"}) == {variable.removeprefix("BAKE_").lower(): "x"}


def test_makefile_and_hook_know_the_same_names(hook: ModuleType) -> None:
    (line,) = re.findall(r"^BAKE := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {name.lower() for name in line.split()} == set(hook.NAMES)


def test_no_default_is_in_the_source_tree() -> None:
    assert not (ROOT / "imgctl_cli" / "_baked.py").exists()


@pytest.mark.parametrize("secret", ["IMGCTL_DEFAULT_CLIENT_ID", "IMGCTL_DEFAULT_CLIENT_SECRET"])
def test_repository_secret(secret: str) -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    name = secret.removeprefix("IMGCTL_DEFAULT_")
    assert f"BAKE_{name}: ${{{{ secrets.{secret} }}}}" in workflow
