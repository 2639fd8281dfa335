"""Who may do what."""

from __future__ import annotations

from typing import Any

import pytest

from imgctl_core.auth.policy import EnvironmentRules, Policy
from imgctl_core.errors import NotAuthorized
from imgctl_core.models import Actor


def actor(*groups: str) -> Actor:
    return Actor(issuer="https://dex", subject="s", email="alice@example.com", groups=groups)


def policy(*groups: str, **environments: EnvironmentRules) -> Policy:
    return Policy(allowed_groups=groups or ("promoters",), environments=environments)


def authorize(
    made: Policy, who: Actor, source: str = "int", destination: str = "prod"
) -> tuple[str, ...]:
    return made.authorize(
        who, kind="image", name="team/app", source=source, destination=destination
    )


def activate(made: Policy, who: Actor, environment: str = "prod") -> None:
    made.authorize_activation(who, kind="spa", name="shop", environment=environment)


class TestAdmit:
    def test_the_first_group_that_matches_is_noted(self) -> None:
        admitted = policy("a", "b", "c").admit(actor("c", "b"))
        assert admitted.matched_group == "b"
        assert admitted.groups == ("c", "b")

    @pytest.mark.parametrize(
        "group",
        [
            "Promoters",
            "promoters ",
            " promoters",
            "promoters\n",
            "promoter",
            "promoters2",
            "a,promoters",
            "pro\N{FULLWIDTH LATIN SMALL LETTER M}oters",
            "pr*",
            "",
        ],
    )
    def test_42_a_group_counts_to_the_letter(self, group: str) -> None:
        with pytest.raises(NotAuthorized) as denied:
            policy().admit(actor(group))
        assert denied.value.message == (
            "alice@example.com is in no group that may use this server; group promoters would do"
        )

    def test_39_without_groups_all_that_would_do_are_named(self) -> None:
        with pytest.raises(NotAuthorized) as denied:
            policy("a", "b").admit(actor())
        assert "one of the groups a, b would do" in denied.value.message
        assert "log in again" in denied.value.fix


@pytest.mark.parametrize(
    "settings",
    [
        {"allowed_groups": ()},
        {"allowed_groups": [""]},
        {"allowed_groups": ["a", " "]},
        {"allowed_groups": "promoters"},
        {"environments": {"prod": EnvironmentRules(allowed_groups=("",))}},
        {"environments": {"prod": EnvironmentRules(promote_from=("",))}},
        {"environments": {"prod": EnvironmentRules(), "PROD": EnvironmentRules()}},
    ],
)
def test_a_policy_that_can_not_be_meant_is_not_made(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no group|list of names|twice"):
        Policy(**({"allowed_groups": ("promoters",), "environments": {}} | settings))


GROUPS = EnvironmentRules(allowed_groups=("release", "oncall"))
CLOSED = EnvironmentRules(allowed_groups=())
FROM_INT = EnvironmentRules(promote_from=("int", "stage"))
FROM_NOWHERE = EnvironmentRules(promote_from=())
MAY_NOT_LIVE = "alice@example.com may not make spa shop live in prod"
MAY_NOT = "alice@example.com may not promote image team/app to prod"
NOBODY = "nobody may promote image team/app to prod"


@pytest.mark.parametrize(
    ("rules", "groups", "source", "allowed"),
    [
        (None, ("promoters",), "dev", True),
        (None, ("release",), "dev", False),
        (EnvironmentRules(), ("promoters",), "dev", True),
        (GROUPS, ("promoters",), "dev", False),
        (GROUPS, ("release",), "dev", False),
        (GROUPS, ("promoters", "release"), "dev", True),
        (GROUPS, ("promoters", "oncall"), "dev", True),
        (GROUPS, ("promoters", "Release"), "dev", False),
        (CLOSED, ("promoters", "release"), "dev", False),
        (FROM_INT, ("promoters",), "dev", False),
        (FROM_INT, ("promoters",), "int", True),
        (FROM_INT, ("promoters",), "stage", True),
        (FROM_INT, ("promoters",), "", False),
        (FROM_NOWHERE, ("promoters",), "int", False),
    ],
)
def test_authorize(
    rules: EnvironmentRules | None, groups: tuple[str, ...], source: str, allowed: bool
) -> None:
    made = policy(**({"prod": rules} if rules else {}))
    if allowed:
        taken = authorize(made, actor(*groups), source)
        # The server's first, then the environment's.
        wanted = ("promoters", *(rules.allowed_groups or () if rules else ()))
        assert taken == tuple(group for group in wanted if group in groups)
        assert made.may_promote(actor(*groups), "prod")
    else:
        with pytest.raises(NotAuthorized):
            authorize(made, actor(*groups), source)


@pytest.mark.parametrize(
    ("rules", "groups", "allowed"),
    [
        (None, ("promoters",), True),
        (None, ("release",), False),
        (EnvironmentRules(), ("promoters",), True),
        (GROUPS, ("promoters",), False),
        (GROUPS, ("release",), False),
        (GROUPS, ("promoters", "release"), True),
        (GROUPS, ("promoters", "Release"), False),
        (CLOSED, ("promoters", "release"), False),
        # Nothing is moved, so it comes from nowhere.
        (FROM_INT, ("promoters",), True),
        (FROM_INT, ("release",), False),
        (FROM_NOWHERE, ("promoters",), False),
        (EnvironmentRules(("release",), ("int",)), ("promoters",), False),
        (EnvironmentRules(("release",), ("int",)), ("promoters", "release"), True),
    ],
)
def test_authorize_activation(
    rules: EnvironmentRules | None, groups: tuple[str, ...], allowed: bool
) -> None:
    made = policy(**({"prod": rules} if rules else {}))
    assert made.may_promote(actor(*groups), "prod") is allowed
    for spelled in ("prod", "PROD"):
        if allowed:
            activate(made, actor(*groups), spelled)
        else:
            with pytest.raises(NotAuthorized):
                activate(made, actor(*groups), spelled)


@pytest.mark.parametrize(
    ("rules", "message", "fix"),
    [
        (GROUPS, f"{MAY_NOT_LIVE}; one of the groups release, oncall would do", "ask for"),
        (CLOSED, f"{MAY_NOT_LIVE}: nobody may promote to prod", "[environments.prod]"),
        (
            FROM_NOWHERE,
            "nobody may make spa shop live in prod: prod takes nothing from anywhere",
            "[environments.prod]",
        ),
    ],
    ids=["groups", "closed", "nowhere"],
)
def test_a_denied_activation_says_what_would_do(
    rules: EnvironmentRules, message: str, fix: str
) -> None:
    with pytest.raises(NotAuthorized) as denied:
        activate(policy(prod=rules), actor("promoters"))
    assert denied.value.message == message
    assert fix in denied.value.fix


def test_the_rules_of_one_environment_are_no_other_ones() -> None:
    made = policy(prod=GROUPS, int=FROM_NOWHERE)
    authorize(made, actor("promoters"), "dev", "qa")
    with pytest.raises(NotAuthorized):
        authorize(made, actor("promoters", "release"), "dev", "int")


@pytest.mark.parametrize("spelled", ["prod-eu", "PROD_EU", "Prod-Eu"])
@pytest.mark.parametrize("key", ["prod-eu", "Prod_EU"])
def test_rules_hold_however_an_environment_is_spelled(spelled: str, key: str) -> None:
    made = policy(**{key: EnvironmentRules(("release",), ("INT_A",), allow_replace=True)})
    with pytest.raises(NotAuthorized):
        authorize(made, actor("promoters"), "int-a", spelled)
    authorize(made, actor("promoters", "release"), "Int-A", spelled)
    assert made.allows_replace(spelled)


@pytest.mark.parametrize(
    ("rules", "message", "fix"),
    [
        (
            GROUPS,
            f"{MAY_NOT}; one of the groups release, oncall would do",
            "ask for membership",
        ),
        (
            CLOSED,
            f"{MAY_NOT}: nobody may promote to prod",
            "[environments.prod]",
        ),
        (
            FROM_INT,
            f"{NOBODY} from dev: prod takes only what comes from int, stage",
            "promote to int first, then from int to prod",
        ),
        (
            FROM_NOWHERE,
            f"{NOBODY}: prod takes nothing from anywhere",
            "[environments.prod]",
        ),
    ],
    ids=["groups", "closed", "from", "nowhere"],
)
def test_a_denial_says_what_would_do(rules: EnvironmentRules, message: str, fix: str) -> None:
    with pytest.raises(NotAuthorized) as denied:
        authorize(policy(prod=rules), actor("promoters"), "dev")
    assert denied.value.message == message
    assert fix in denied.value.fix


@pytest.mark.parametrize(
    ("rules", "groups", "may"),
    [
        (GROUPS, ("promoters",), False),
        (GROUPS, ("promoters", "oncall"), True),
        (GROUPS, ("oncall",), False),
        (FROM_INT, ("promoters",), True),
        (FROM_NOWHERE, ("promoters",), False),
        (CLOSED, ("promoters",), False),
    ],
)
def test_may_promote(rules: EnvironmentRules, groups: tuple[str, ...], may: bool) -> None:
    assert policy(prod=rules).may_promote(actor(*groups), "prod") is may


def test_replacing_must_be_allowed() -> None:
    made = policy(prod=EnvironmentRules(), dev=EnvironmentRules(allow_replace=True))
    assert made.allows_replace("dev")
    assert not made.allows_replace("prod")
    assert not made.allows_replace("elsewhere")
