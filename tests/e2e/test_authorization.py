"""Who may promote what, by groups, environments and rules, with the real command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imgctl_core.audit import read
from imgctl_core.testing.images import sample_image
from imgctl_core.testing.issuer import User
from imgctl_core.testing.registry import Registry

Registries = tuple[Registry, Registry, Registry]

RULES = """
[environments.prod]
allowed_groups = ["release"]
promote_from = ["int"]

[environments.int]
allow_replace = true

[[rules]]
destinations = ["int"]

[[rules]]
kinds = ["image"]
artifacts = ["team/*"]
sources = ["int"]
destinations = ["prod"]
groups = ["team", "leads"]
"""


@pytest.fixture
def rules(stack: Any, registries: Registries, tmp_path: Path) -> None:
    path = tmp_path / "imgctl.toml"
    path.write_text(RULES)
    stack.server_settings["IMGCTL_CONFIG"] = str(path)
    registries[0].put_image("team/app", "v1", sample_image("one"))


def join(stack: Any, *groups: str) -> None:
    """Put alice in these groups; her cached token had others."""
    alice = stack.issuer.users["alice"]
    stack.issuer.users["alice"] = User(keys=alice.keys, groups=groups, email=alice.email)
    stack.client["XDG_CACHE_HOME"] = str(stack.folder / "-".join(groups))


def explain(stack: Any, ref: str = "team/app:v1", source: str = "int", to: str = "prod") -> Any:
    found = stack.run("auth-check", "--explain", ref, "--source", source, "-d", to, "-o", "json")
    explanation = found.json["explanation"]
    assert found.code == (0 if explanation["allowed"] else 1), found.err
    return explanation


def no(explanation: Any) -> dict[str, str]:
    return {one["check"]: one["why"] for one in explanation["decisions"] if not one["allowed"]}


def test_a_path_through_environments_groups_and_rules(
    stack: Any, registries: Registries, rules: None
) -> None:
    stack.start()
    # Alice is let in, and no more: everybody may promote to int, nobody like her to prod.
    report = stack.run("auth-check", "-o", "json")
    assert (report.code, report.json["destinations"]) == (0, ["int"])
    assert explain(stack, source="dev", to="int")["allowed"]
    assert set(no(explain(stack, source="dev"))) == {
        "environments.prod.allowed_groups",
        "environments.prod.promote_from",
        "rules",
    }
    denied = stack.run("promote", "team/app:v1", "--source", "int", "-d", "prod")
    assert denied.code != 0
    assert "group release would do" in denied.err
    # In the environment's group: it is the rule that is missing now.
    join(stack, "eng", "release")
    assert no(explain(stack)) == {
        "rules": "alice@example.com may not promote image team/app to prod: no rule allows it"
        " (rule 1 is for other destinations, rule 2 is for other groups);"
        " one of the groups team, leads would do"
    }
    # In all of them: by way of int, and only what the rule is about.
    join(stack, "eng", "release", "team")
    assert list(no(explain(stack, "other/app:v1"))) == ["rules"]
    assert list(no(explain(stack, source="dev"))) == ["environments.prod.promote_from", "rules"]
    assert explain(stack)["allowed"]
    assert not registries[1].requests
    assert not registries[2].requests
    assert stack.run("promote", "team/app:v1", "--source", "dev", "-d", "int").code == 0
    shown = stack.run("auth-check", "--explain", "team/app:v1", "--source", "int", "-d", "prod")
    assert shown.out.splitlines()[-5:] == [
        "promoting team/app:v1 from int to prod would be allowed",
        "  yes  oidc.allowed_groups: group eng lets alice@example.com in",
        "  yes  environments.prod.allowed_groups: group release may promote to prod",
        "  yes  environments.prod.promote_from: prod takes from int",
        "  yes  rules: rule 2 allows it",
    ]
    assert stack.promote("team/app:v1", source="int").code == 0


def test_what_was_replaced_is_in_the_audit_log(
    stack: Any, registries: Registries, rules: None
) -> None:
    stack.start()
    before = registries[1].put_image("team/app", "v1", sample_image("before"))
    after = registries[0].tags("team/app")["v1"]
    to_int = ("promote", "team/app:v1", "--source", "dev", "-d", "int")
    assert stack.run(*to_int).code == 8
    assert registries[1].tags("team/app")["v1"] == before.digest
    assert stack.run(*to_int, "--on-conflict", "replace").code == 0
    assert registries[1].tags("team/app")["v1"] == after
    conflict, requested, promoted = (
        record for record in read(stack.audit_log) if str(record["event"]).startswith("promotion.")
    )
    assert conflict["event"] == "promotion.conflict"
    assert requested["on_conflict"] == "replace"
    assert requested["items"][0]["current_digest"] == before.digest  # type: ignore[index, call-overload]
    assert promoted["items"][0]["previous_digest"] == before.digest  # type: ignore[index, call-overload]
    assert promoted["items"][0]["digest"] == after  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("rule", "message", "fix"),
    [
        ('destinations = ["prd"]', "rule 1 names 'prd'", "did you mean 'prod'?"),
        ('sources = ["dve"]', "rule 1 names 'dve'", "did you mean 'dev'?"),
        ('kinds = ["imge"]', "rule 1 is for kind 'imge'", "did you mean 'image'?"),
        ('kind = ["image"]', "unknown key 'kind'", "did you mean 'kinds'?"),
    ],
)
def test_a_misspelt_rule_stops_the_server_before_it_starts(
    stack: Any, registries: Registries, tmp_path: Path, rule: str, message: str, fix: str
) -> None:
    path = tmp_path / "imgctl.toml"
    path.write_text(f"[[rules]]\n{rule}\n")
    refused = stack.run("server", "--check", "--config", str(path), env=stack.server_settings)
    assert refused.code == 2
    assert message in refused.err
    assert fix in refused.err
