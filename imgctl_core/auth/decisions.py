"""What each check says, in words: why not, who could, and what would help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imgctl_core.access import Decision
from imgctl_core.models import Actor
from imgctl_core.rules import Intent, Rule

_MEMBERSHIP = (
    "ask for membership in such a group, then log in again"
    " (a token keeps the groups that it was made with)"
)
_SERVER_GROUPS = "oidc.allowed_groups"
_RULES = "rules"

#: Rules that an answer names one by one.
_SHOWN = 10

_OTHER = {
    "kinds": "other kinds",
    "artifacts": "other artifacts",
    "destinations": "other destinations",
    "sources": "other sources",
    "groups": "other groups",
}


def of_server(actor: Actor, matched: str | None, groups: tuple[str, ...]) -> Decision:
    """Say whether the server's own groups let the actor in."""
    if matched is not None:
        why = f"group {matched} lets {actor.display} in"
        return Decision(_SERVER_GROUPS, True, why, group=matched)
    return Decision(
        _SERVER_GROUPS,
        False,
        f"{actor.display} is in no group that may use this server; {_one_of(groups)} would do",
        _MEMBERSHIP,
    )


def of_environment(
    actor: Actor, what: str, environment: str, matched: str | None, groups: tuple[str, ...] | None
) -> Decision:
    """Say whether the environment's groups let the actor do it; None is no such rule."""
    key = f"environments.{environment}.allowed_groups"
    if groups is None:
        return Decision(key, True, f"{environment} asks for no further group")
    if matched is not None:
        why = f"group {matched} may promote to {environment}"
        return Decision(key, True, why, group=matched)
    if not groups:
        return Decision(
            key,
            False,
            f"{actor.display} may not {what}: nobody may promote to {environment}",
            f"whoever runs the server can name groups in [environments.{environment}]",
        )
    return Decision(
        key, False, f"{actor.display} may not {what}; {_one_of(groups)} would do", _MEMBERSHIP
    )


def of_source(
    what: str, source: str, environment: str, taken: tuple[str, ...] | None, fits: bool
) -> Decision:
    """Say whether the environment takes from that source; None is from any."""
    key = f"environments.{environment}.promote_from"
    if taken is None:
        return Decision(key, True, f"{environment} takes from any source")
    if fits:
        return Decision(key, True, f"{environment} takes from {', '.join(taken)}")
    if not taken:
        return Decision(
            key,
            False,
            f"nobody may {what}: {environment} takes nothing from anywhere",
            f"whoever runs the server can name sources in [environments.{environment}]",
        )
    return Decision(
        key,
        False,
        f"nobody may {what} from {source}: {environment} takes only what comes from"
        f" {', '.join(taken)}",
        f"promote to {taken[0]} first, then from {taken[0]} to {environment}",
    )


def of_rules(actor: Actor, what: str, intent: Intent, rules: Sequence[Rule]) -> Decision:
    """Say which rule allows it, or why none does."""
    if not rules:
        return Decision(_RULES, True, "the server has no further rules")
    reasons: list[str] = []
    groups: list[str] = []
    for number, rule in enumerate(rules, start=1):
        other = rule.outside(intent)
        if not other and rule.is_for(actor):
            return Decision(_RULES, True, f"rule {number} allows it", group=rule.group_of(actor))
        if not other:
            groups += rule.groups or ()
        reasons.append(f"rule {number} is for {_OTHER[other or 'groups']}")
    why = f"no rule allows it ({_listed(reasons)})"
    if groups:
        why += f"; {_one_of(dict.fromkeys(groups))} would do"
        return Decision(_RULES, False, f"{actor.display} may not {what}: {why}", _MEMBERSHIP)
    return Decision(
        _RULES,
        False,
        f"nobody may {what}{_from(intent)}: {why}",
        "whoever runs the server can allow it in [[rules]]",
    )


def _from(intent: Intent) -> str:
    return f" from {intent.sources[0]}" if intent.sources and len(intent.sources) == 1 else ""


def _listed(reasons: list[str]) -> str:
    more = len(reasons) - _SHOWN
    return ", ".join(reasons[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _one_of(groups: Iterable[str]) -> str:
    names = list(groups)
    if len(names) == 1:
        return f"group {names[0]}"
    return f"one of the groups {', '.join(names)}"
