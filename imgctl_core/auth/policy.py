"""Who may do what: the server's groups, each environment's own, and rules.

They only add up: whoever is in none of the server's groups may do nothing, an
environment's groups and sources come on top, and where there is any rule one must match
besides. What nothing allows is not allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from imgctl_core.access import Decision
from imgctl_core.auth import decisions
from imgctl_core.errors import NotAuthorized
from imgctl_core.models import Actor
from imgctl_core.names import canonical_name
from imgctl_core.rules import Intent, Rule


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
        rules: Iterable[Rule] = (),
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
        self._environments: dict[str, EnvironmentRules] = {}
        for name, found in environments.items():
            if canonical_name(name) in self._environments:
                raise ValueError(f"the environment {name!r} has rules twice")
            self._environments[canonical_name(name)] = _canonical(name, found)
        self._rules = tuple(rules)

    def admit(self, actor: Actor) -> Actor:
        """Return the actor with the group that lets them use this server.

        Raises:
            NotAuthorized: they are in none of the groups that do.
        """
        matched = _first(self._groups, actor)
        _enforce([decisions.of_server(actor, matched, self._groups)])
        return replace(actor, matched_group=matched or "")

    def decide(
        self, actor: Actor, *, kind: str, name: str, source: str, destination: str
    ) -> tuple[Decision, ...]:
        """Return what every check says of promoting this artifact, the first ones first.

        It is allowed when all of them say so.
        """
        place, found = canonical_name(destination), self._of(destination)
        what = f"promote {kind} {name} to {destination}"
        fits = found.promote_from is None or canonical_name(source) in found.promote_from
        intent = Intent(place, kind, name, (canonical_name(source),))
        return (
            *self._of_groups(actor, what, destination),
            decisions.of_source(what, source, destination, found.promote_from, fits),
            decisions.of_rules(actor, what, intent, self._rules),
        )

    def authorize(
        self, actor: Actor, *, kind: str, name: str, source: str, destination: str
    ) -> tuple[str, ...]:
        """Check that the actor may promote this artifact from `source` to `destination`.

        Returns the groups of theirs that it took.

        Raises:
            NotAuthorized: they may not; it says which group or which source would do.
        """
        return _enforce(
            self.decide(actor, kind=kind, name=name, source=source, destination=destination)
        )

    def authorize_activation(
        self, actor: Actor, *, kind: str, name: str, environment: str
    ) -> tuple[str, ...]:
        """Check that the actor may make a version of this artifact live in `environment`.

        Whoever may promote it there from anywhere may. What goes live is there already, so
        no source is asked about. Returns the groups of theirs that it took.

        Raises:
            NotAuthorized: they may not; it says which group would do.
        """
        taken = self._of(environment).promote_from
        what = f"make {kind} {name} live in {environment}"
        intent = Intent(canonical_name(environment), kind, name, taken)
        return _enforce(
            (
                *self._of_groups(actor, what, environment),
                decisions.of_source(what, "", environment, taken, taken != ()),
                decisions.of_rules(actor, what, intent, self._rules),
            )
        )

    def may_promote(
        self, actor: Actor, destination: str, *, kind: str | None = None, name: str | None = None
    ) -> bool:
        """Return whether the actor may promote to `destination`, from somewhere.

        Without a kind and a name: anything at all; with them: that artifact.
        """
        taken = self._of(destination).promote_from
        intent = Intent(canonical_name(destination), kind, name, taken)
        checks = (
            *self._of_groups(actor, "", destination),
            decisions.of_rules(actor, "", intent, self._rules),
        )
        return taken != () and all(check.allowed for check in checks)

    def allows_replace(self, destination: str) -> bool:
        """Return whether something else at `destination` may be replaced."""
        return self._of(destination).allow_replace

    def _of_groups(self, actor: Actor, what: str, environment: str) -> tuple[Decision, Decision]:
        groups = self._of(environment).allowed_groups
        return (
            decisions.of_server(actor, _first(self._groups, actor), self._groups),
            decisions.of_environment(actor, what, environment, _first(groups or (), actor), groups),
        )

    def _of(self, environment: str) -> EnvironmentRules:
        return self._environments.get(canonical_name(environment), _NO_RULES)


def _enforce(checks: Iterable[Decision]) -> tuple[str, ...]:
    groups: list[str] = []
    for check in checks:
        if not check.allowed:
            raise NotAuthorized(check.why, fix=check.fix)
        groups.append(check.group)
    return _unique(filter(None, groups))


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
