"""`[[rules]]`: who may promote what, from where, to where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from imgctl_core.auth.policy import EnvironmentRules, Policy
from imgctl_core.errors import NotAuthorized
from imgctl_core.models import Actor
from imgctl_core.rules import Rule

WEB = Rule(kinds=("spa",), destinations=("prod",), groups=("web",))
TEAM = Rule(artifacts=("team/*",), sources=("int",), groups=("team", "leads"))
ANYBODY_TO_INT = Rule(destinations=("int",))


def actor(*groups: str) -> Actor:
    return Actor("https://dex", "s", email="alice@example.com", groups=("promoters", *groups))


def policy(*rules: Rule, **environments: EnvironmentRules) -> Policy:
    return Policy(allowed_groups=("promoters",), environments=environments, rules=rules)


def allowed(made: Policy, who: Actor, **more: str) -> bool:
    asked = {"kind": "image", "name": "team/app", "source": "int", "destination": "prod", **more}
    try:
        made.authorize(who, **asked)
    except NotAuthorized:
        return False
    return True


@pytest.mark.parametrize(
    ("rules", "groups", "asked", "expected"),
    [
        # Without rules there is no further question.
        ((), (), {}, True),
        # One must match as soon as there is any.
        ((WEB,), ("web",), {}, False),
        ((WEB,), ("web",), {"kind": "spa"}, True),
        ((WEB,), (), {"kind": "spa"}, False),
        ((WEB,), ("Web",), {"kind": "spa"}, False),
        ((WEB,), ("web",), {"kind": "spa", "destination": "int"}, False),
        ((WEB,), ("web",), {"kind": "spa", "destination": "PROD"}, True),
        ((WEB,), ("web",), {"kind": "SPA"}, False),
        # What a rule leaves out is any.
        ((ANYBODY_TO_INT,), (), {"destination": "int"}, True),
        ((ANYBODY_TO_INT,), (), {}, False),
        ((TEAM,), ("leads",), {"kind": "spa"}, True),
        # Patterns.
        ((TEAM,), ("team",), {}, True),
        ((TEAM,), ("team",), {"name": "team/sub/app"}, True),
        ((TEAM,), ("team",), {"name": "team"}, False),
        ((TEAM,), ("team",), {"name": "Team/app"}, False),
        ((TEAM,), ("team",), {"name": "x/team/app"}, False),
        ((Rule(artifacts=("app-?", "[xy]z")),), (), {"name": "app-1"}, True),
        ((Rule(artifacts=("app-?", "[xy]z")),), (), {"name": "app-12"}, False),
        ((Rule(artifacts=("app-?", "[xy]z")),), (), {"name": "yz"}, True),
        ((Rule(artifacts=("a.b",)),), (), {"name": "aXb"}, False),
        ((Rule(artifacts=("app",)),), (), {"name": "app\n"}, False),
        ((Rule(artifacts=("team/**",)),), (), {"name": "team/sub/app"}, True),
        ((Rule(artifacts=("[!x]*",)),), (), {"name": "x/app"}, False),
        ((Rule(artifacts=("[!x]*",)),), (), {"name": "y/app"}, True),
        ((Rule(artifacts=("[a",)),), (), {"name": "a"}, False),
        # Sources.
        ((TEAM,), ("team",), {"source": "Int"}, True),
        ((TEAM,), ("team",), {"source": "dev"}, False),
        ((TEAM,), ("team",), {"source": ""}, False),
        # Parts of several rules don't add up to one.
        ((WEB, TEAM), ("team",), {"kind": "spa", "name": "shop"}, False),
        ((WEB, TEAM), ("web",), {}, False),
        ((WEB, TEAM), ("web", "team"), {}, True),
        # Order does not matter: rules only allow.
        ((TEAM, WEB), ("web",), {"kind": "spa", "name": "shop"}, True),
    ],
)
def test_authorize(
    rules: tuple[Rule, ...], groups: tuple[str, ...], asked: dict[str, str], expected: bool
) -> None:
    assert allowed(policy(*rules), actor(*groups), **asked) is expected


def test_the_groups_that_were_used_are_told() -> None:
    prod = EnvironmentRules(allowed_groups=("leads", "release"))
    made = policy(Rule(kinds=("spa",), groups=("web",)), Rule(groups=("ops", "team")), prod=prod)
    who = actor("team", "release", "web", "others")
    asked = {"name": "team/app", "source": "int", "destination": "prod"}
    assert made.authorize(who, kind="image", **asked) == (who.groups[0], "release", "team")
    assert made.authorize(who, kind="spa", **asked) == (who.groups[0], "release", "web")
    live = made.authorize_activation(who, kind="spa", name="shop", environment="prod")
    assert live == (who.groups[0], "release", "web")


@pytest.mark.parametrize("groups", [(), ("web",), ("release", "web"), ("release",)])
def test_a_rule_opens_nothing_that_is_closed(groups: tuple[str, ...]) -> None:
    everything = Rule(kinds=("image", "spa"))
    prod = EnvironmentRules(allowed_groups=("release",), promote_from=("int",))
    made = policy(everything, prod=prod)
    assert allowed(made, actor(*groups)) is ("release" in groups)
    assert not allowed(made, actor(*groups), source="dev")
    assert not allowed(made, Actor("https://dex", "s", groups=groups))


names = some.sampled_from(["a", "b", "c"])
lists = some.one_of(some.none(), some.lists(names, min_size=1, max_size=2).map(tuple))
rules = some.builds(
    Rule,
    kinds=lists,
    artifacts=lists,
    sources=lists,
    destinations=lists,
    groups=lists,
)


@given(
    some.lists(rules, min_size=1, max_size=4),
    rules,
    some.sets(names),
    some.tuples(names, names, names, names),
)
def test_one_rule_more_never_takes_anything_away(
    few: list[Rule], more: Rule, groups: set[str], asked: tuple[str, str, str, str]
) -> None:
    fields = dict(zip(("kind", "name", "source", "destination"), asked, strict=True))
    who = actor(*sorted(groups))
    before, after = policy(*few), policy(*few, more)
    assert allowed(after, who, **fields) >= allowed(before, who, **fields)
    assert allowed(after, who, **fields) <= allowed(policy(), who, **fields)
    # Whoever may do this may do something there, and may also make it live there.
    if allowed(after, who, **fields):
        there = fields["destination"]
        assert after.may_promote(who, there)
        assert after.may_promote(who, there, kind=fields["kind"], name=fields["name"])
        after.authorize_activation(who, kind=fields["kind"], name=fields["name"], environment=there)


@pytest.mark.parametrize(
    ("rules", "groups", "message", "fix"),
    [
        (
            (WEB, TEAM),
            (),
            (
                "alice@example.com may not promote image team/app to prod: no rule allows it"
                " (rule 1 is for other kinds, rule 2 is for other groups);"
                " one of the groups team, leads would do"
            ),
            "ask for membership",
        ),
        (
            (WEB,),
            ("web",),
            (
                "nobody may promote image team/app to prod from int: no rule allows it"
                " (rule 1 is for other kinds)"
            ),
            "[[rules]]",
        ),
        (
            (Rule(artifacts=("x",)), Rule(sources=("dev",)), ANYBODY_TO_INT),
            (),
            (
                "nobody may promote image team/app to prod from int: no rule allows it"
                " (rule 1 is for other artifacts, rule 2 is for other sources,"
                " rule 3 is for other destinations)"
            ),
            "[[rules]]",
        ),
        (
            (WEB,) * 12,
            (),
            "nobody may promote image team/app to prod from int: no rule allows it ("
            + ", ".join(f"rule {n} is for other kinds" for n in range(1, 11))
            + " and 2 more)",
            "[[rules]]",
        ),
    ],
    ids=["groups", "kinds", "others", "many"],
)
def test_a_denial_says_what_would_do(
    rules: tuple[Rule, ...], groups: tuple[str, ...], message: str, fix: str
) -> None:
    with pytest.raises(NotAuthorized) as denied:
        policy(*rules).authorize(
            actor(*groups), kind="image", name="team/app", source="int", destination="prod"
        )
    assert denied.value.message == message
    assert fix in denied.value.fix


def decisions(made: Policy, who: Actor) -> list[tuple[str, bool, str]]:
    found = made.decide(who, kind="image", name="team/app", source="int", destination="prod")
    return [(one.check, one.allowed, one.why) for one in found]


def test_every_check_is_shown_even_after_one_that_failed() -> None:
    prod = EnvironmentRules(allowed_groups=("release",), promote_from=("stage",))
    found = decisions(policy(TEAM, prod=prod), Actor("https://dex", "s", "al", groups=("team",)))
    assert found == [
        (
            "oidc.allowed_groups",
            False,
            "al is in no group that may use this server; group promoters would do",
        ),
        (
            "environments.prod.allowed_groups",
            False,
            "al may not promote image team/app to prod; group release would do",
        ),
        (
            "environments.prod.promote_from",
            False,
            (
                "nobody may promote image team/app to prod from int:"
                " prod takes only what comes from stage"
            ),
        ),
        ("rules", True, "rule 1 allows it"),
    ]


def test_what_allows_it_is_named() -> None:
    prod = EnvironmentRules(allowed_groups=("release",), promote_from=("int",))
    assert decisions(policy(WEB, TEAM, prod=prod), actor("release", "team")) == [
        ("oidc.allowed_groups", True, "group promoters lets alice@example.com in"),
        ("environments.prod.allowed_groups", True, "group release may promote to prod"),
        ("environments.prod.promote_from", True, "prod takes from int"),
        ("rules", True, "rule 2 allows it"),
    ]
    assert [why for _, _, why in decisions(policy(), actor())] == [
        "group promoters lets alice@example.com in",
        "prod asks for no further group",
        "prod takes from any source",
        "the server has no further rules",
    ]


@pytest.mark.parametrize(
    ("rules", "groups", "asked", "expected"),
    [
        ((WEB,), ("web",), {}, True),
        ((WEB,), ("web",), {"kind": "image", "name": "x"}, False),
        ((WEB,), ("web",), {"kind": "spa", "name": "x"}, True),
        ((WEB,), (), {}, False),
        ((TEAM,), ("team",), {"kind": "image", "name": "team/x"}, True),
        ((TEAM,), ("team",), {"kind": "image", "name": "x"}, False),
        ((ANYBODY_TO_INT,), (), {}, False),
    ],
)
def test_may_promote(
    rules: tuple[Rule, ...], groups: tuple[str, ...], asked: dict[str, Any], expected: bool
) -> None:
    assert policy(*rules).may_promote(actor(*groups), "prod", **asked) is expected


@pytest.mark.parametrize(("taken", "may"), [(("int",), True), (("dev",), False), (None, True)])
def test_a_rule_whose_sources_are_not_taken_there_gives_nothing(
    taken: tuple[str, ...] | None, may: bool
) -> None:
    made = policy(TEAM, prod=EnvironmentRules(promote_from=taken))
    assert made.may_promote(actor("team"), "prod") is may
    activate = {"kind": "spa", "name": "team/x", "environment": "prod"}
    if may:
        made.authorize_activation(actor("team"), **activate)
    else:
        with pytest.raises(NotAuthorized, match="rule 1 is for other sources"):
            made.authorize_activation(actor("team"), **activate)


@pytest.mark.parametrize("fields", [{}, {"groups": ()}, {"groups": ("a", "")}, {"sources": ()}])
def test_a_rule_that_can_not_be_meant_is_not_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"says nothing|set but empty|empty name"):
        Rule(**fields)


def test_a_pattern_full_of_stars_costs_no_time() -> None:
    made = policy(Rule(artifacts=("*a" * 40 + "b",)))
    assert not allowed(made, actor(), name="a" * 1024)
