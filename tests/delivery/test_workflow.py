"""The workflow does what a person can do: its steps are make targets that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def workflow(root: Path) -> dict[str, Any]:
    text = (root / ".github/workflows/ci.yml").read_text()
    loaded: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    return loaded


@pytest.fixture(scope="module")
def targets(root: Path) -> set[str]:
    return set(re.findall(r"^\.PHONY: (\S+)$", (root / "Makefile").read_text(), re.MULTILINE))


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_every_command_is_a_make_target(workflow: dict[str, Any], targets: set[str]) -> None:
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    assert len(commands) >= 8
    for command in commands:
        make, *wanted = command.split()
        assert make == "make", command
        assert wanted
        assert set(wanted) <= targets, command


def test_tests_and_lint_run_on_main_and_on_pull_requests(workflow: dict[str, Any]) -> None:
    assert workflow["on"] == {"push": {"branches": ["main"]}, "pull_request": ""}
    commands = [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    assert {"make peers", "make lint", "make test"} <= set(commands)
    assert "if" not in workflow["jobs"]["test"]
    assert workflow["jobs"]["test"]["env"]["IMGCTL_REQUIRE_PEERS"] == "1"


def test_advisories_are_asked_there_and_only_there(workflow: dict[str, Any], root: Path) -> None:
    commands = [step.get("run") for step in workflow["jobs"]["audit"]["steps"]]
    assert "make audit" in commands
    assert "audit" not in (root / ".ci/run").read_text().replace("IMGCTL_AUDIT_LOG", "")


def test_artifacts_are_tried_on_three_platforms(workflow: dict[str, Any]) -> None:
    smoke = workflow["jobs"]["smoke"]
    platforms = [entry["platform"] for entry in smoke["strategy"]["matrix"]["include"]]
    assert platforms == ["linux/amd64", "darwin/amd64", "darwin/arm64"]
    assert "make smoke" in [step.get("run") for step in smoke["steps"]]


def test_only_a_push_to_main_releases_and_only_after_everything_else(
    workflow: dict[str, Any],
) -> None:
    release = workflow["jobs"]["release"]
    assert release["if"] == "github.event_name == 'push'"
    assert set(release["needs"]) == {"test", "build", "smoke"}


def test_defaults_come_from_the_repository_secrets(workflow: dict[str, Any]) -> None:
    (build,) = [step for step in steps(workflow) if step.get("run") == "make build"]
    assert build["env"] == {
        "BAKE_CLIENT_ID": "${{ secrets.IMGCTL_DEFAULT_CLIENT_ID }}",
        "BAKE_CLIENT_SECRET": "${{ secrets.IMGCTL_DEFAULT_CLIENT_SECRET }}",
    }


def test_permissions_are_the_least(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    own = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }
    assert own == {"release": {"contents": "write"}}


def test_versions_come_from_the_whole_history(workflow: dict[str, Any]) -> None:
    for name in ("test", "build", "release"):
        (checkout,) = [
            step
            for step in workflow["jobs"][name]["steps"]
            if step.get("uses", "").startswith("actions/checkout@")
        ]
        assert checkout["with"]["fetch-depth"] == "0", name


def test_actions_are_pinned_and_jobs_end(workflow: dict[str, Any]) -> None:
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})", step["uses"])
    for job in workflow["jobs"].values():
        assert int(job["timeout-minutes"]) <= 60


def test_no_expression_is_pasted_into_a_command(workflow: dict[str, Any]) -> None:
    assert [step for step in steps(workflow) if "${{" in step.get("run", "")] == []
