"""Who may do what: the server's groups, and each environment's own rules.

Rules only add up: whoever is in none of the server's groups may do nothing, and an
environment's rules come on top. What no rule says is not allowed by another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from imgctl_core.errors import NotAuthorized
from imgctl_core.models import Actor
from imgctl_core.settings import canonical_name


@dataclass(frozen=True, slots=True)
class EnvironmentRules:
    """What holds for promotions to one environment, on top of the server's groups.

    `allowed_groups`: one of them is needed too; None for no such rule, empty for nobody.
    `promote_from`: the only sources; None for any, empty for none.
    `allow_replace`: whether something else at the destination may be replaced.
    """

    allowed_groups: tuple[str, ...] | None = None
    promote_from: tuple[str, ...] | None = None
    allow_replace: bool = False


_NO_RULES = EnvironmentRules()


class Policy:
    """Answers who may do what. Pure: what it was built with is all it knows."""

    def __init__(
        self,
        *,
        allowed_groups: Collection[str],
        environments: Mapping[str, EnvironmentRules],
    ) -> None:
        """Take the rules. An environment that is not there has no rules of its own.

        Raises:
            ValueError: no group is allowed, or one has no name. A policy without groups
                would let everybody in or nobody, and neither is meant.
        """
        _check_names(allowed_groups, "the allowed groups")
        if not allowed_groups:
            raise ValueError("no group is allowed: name at least one")
        self._groups = _unique(allowed_groups)
        self._rules: dict[str, EnvironmentRules] = {}
        for name, rules in environments.items():
            if canonical_name(name) in self._rules:
                raise ValueError(f"the environment {name!r} has rules twice")
            self._rules[canonical_name(name)] = _canonical(name, rules)

    def admit(self, actor: Actor) -> Actor:
        """Return the actor with the group that lets them use this server.

        Raises:
            NotAuthorized: they are in none of the groups that do.
        """
        matched = _first(self._groups, actor)
        if matched is None:
            raise NotAuthorized(
                f"{actor.display} is in no group that may use this server;"
                f" {_one_of(self._groups)} would do",
                fix="ask for membership in such a group, then log in again"
                " (a token keeps the groups that it was made with)",
            )
        return replace(actor, matched_group=matched)

    def authorize(
        self, actor: Actor, *, kind: str, name: str, source: str, destination: str
    ) -> None:
        """Check that the actor may promote this artifact from `source` to `destination`.

        Raises:
            NotAuthorized: they may not; it says which group or which source would do.
        """
        self.admit(actor)
        rules = self._rules_of(destination)
        what = f"promote {kind} {name} to {destination}"
        if not _in_groups(rules, actor):
            raise _not_in_groups(actor, what, destination, rules.allowed_groups or ())
        if rules.promote_from is not None and canonical_name(source) not in rules.promote_from:
            raise _not_from(what, source, destination, rules.promote_from)

    def authorize_activation(self, actor: Actor, *, kind: str, name: str, environment: str) -> None:
        """Check that the actor may make a version of this artifact live in `environment`.

        Whoever may promote there from anywhere may. What goes live is there already, so
        no source is asked about.

        Raises:
            NotAuthorized: they may not; it says which group would do.
        """
        self.admit(actor)
        rules = self._rules_of(environment)
        what = f"make {kind} {name} live in {environment}"
        if not _in_groups(rules, actor):
            raise _not_in_groups(actor, what, environment, rules.allowed_groups or ())
        if rules.promote_from == ():
            raise _closed(what, environment)

    def may_promote(self, actor: Actor, destination: str) -> bool:
        """Return whether the actor may promote anything to `destination`, from somewhere."""
        rules = self._rules_of(destination)
        return (
            _first(self._groups, actor) is not None
            and _in_groups(rules, actor)
            and rules.promote_from != ()
        )

    def allows_replace(self, destination: str) -> bool:
        """Return whether something else at `destination` may be replaced."""
        return self._rules_of(destination).allow_replace

    def _rules_of(self, environment: str) -> EnvironmentRules:
        return self._rules.get(canonical_name(environment), _NO_RULES)


def _canonical(environment: str, rules: EnvironmentRules) -> EnvironmentRules:
    if rules.allowed_groups is not None:
        _check_names(rules.allowed_groups, f"the allowed groups of {environment}")
    if rules.promote_from is None:
        return rules
    _check_names(rules.promote_from, f"the sources of {environment}")
    return replace(rules, promote_from=_unique(map(canonical_name, rules.promote_from)))


def _check_names(names: Collection[str], what: str) -> None:
    # A single string is a collection of letters, and a group may well be called `a`.
    if isinstance(names, str) or not all(one.strip() for one in names):
        raise ValueError(f"{what} must be a list of names, none of them empty")


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _first(groups: tuple[str, ...], actor: Actor) -> str | None:
    """Return the first of `groups` that the actor is in. Names are compared exactly."""
    return next((group for group in groups if group in actor.groups), None)


def _in_groups(rules: EnvironmentRules, actor: Actor) -> bool:
    return rules.allowed_groups is None or _first(rules.allowed_groups, actor) is not None


def _not_in_groups(
    actor: Actor, what: str, destination: str, groups: tuple[str, ...]
) -> NotAuthorized:
    if not groups:
        return NotAuthorized(
            f"{actor.display} may not {what}: nobody may promote to {destination}",
            fix=f"whoever runs the server can name groups in [environments.{destination}]",
        )
    return NotAuthorized(
        f"{actor.display} may not {what}; {_one_of(groups)} would do",
        fix="ask for membership in such a group, then log in again"
        " (a token keeps the groups that it was made with)",
    )


def _not_from(what: str, source: str, destination: str, sources: tuple[str, ...]) -> NotAuthorized:
    if not sources:
        return _closed(what, destination)
    listed = ", ".join(sources)
    return NotAuthorized(
        f"nobody may {what} from {source}: {destination} takes only what comes from {listed}",
        fix=f"promote to {sources[0]} first, then from {sources[0]} to {destination}",
    )


def _closed(what: str, destination: str) -> NotAuthorized:
    return NotAuthorized(
        f"nobody may {what}: {destination} takes nothing from anywhere",
        fix=f"whoever runs the server can name sources in [environments.{destination}]",
    )


def _one_of(groups: tuple[str, ...]) -> str:
    if len(groups) == 1:
        return f"group {groups[0]}"
    return f"one of the groups {', '.join(groups)}"
