"""`[[rules]]` of the settings file: who may promote what, from where, to where.

A rule only ever allows. What it leaves out is any: a rule without `kinds` is for every
kind. A list that is there and empty would match nothing, which nobody means, and is an
error.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from imgctl_core.errors import InvalidSetting
from imgctl_core.models import Actor
from imgctl_core.names import canonical_name
from imgctl_core.problems import most_telling
from imgctl_core.suggest import nearest

_Names = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody wants to do, as rules see it. None is any of a kind, name or source.

    `sources` are those of which one will do: what goes live comes from nowhere, so there
    they are all that its environment takes from.
    """

    destination: str
    kind: str | None = None
    name: str | None = None
    sources: _Names = None


class Rule(BaseModel):
    """One rule. `artifacts` are shell patterns of names; `*` stands for `/`, too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: _Names = None
    artifacts: _Names = None
    sources: _Names = None
    destinations: _Names = None
    groups: _Names = None

    @field_validator("*")
    @classmethod
    def _something(cls, value: _Names) -> _Names:
        if value is None or (value and all(name.strip() for name in value)):
            return value
        if not value:
            raise ValueError("is set but empty, so it would match nothing; leave it out for any")
        raise ValueError("has an empty name in it")

    @field_validator("artifacts")
    @classmethod
    def _no_exceptions(cls, value: _Names) -> _Names:
        # Elsewhere `!` takes away again what a pattern before it allows.
        if any(pattern.startswith("!") for pattern in value or ()):
            raise ValueError("has a pattern with a ! in front, and rules only ever allow")
        return value

    @field_validator("sources", "destinations")
    @classmethod
    def _canonical(cls, value: _Names) -> _Names:
        return None if value is None else tuple(map(canonical_name, value))

    @model_validator(mode="after")
    def _says_something(self) -> Rule:
        if not self.model_fields_set:
            raise ValueError("says nothing, so it would allow everything to everybody")
        return self

    def outside(self, intent: Intent) -> str:
        """Return the first key by which the rule is not about this, empty when it is."""
        holds = {
            "kinds": self.kinds is None or intent.kind is None or intent.kind in self.kinds,
            "artifacts": self.artifacts is None
            or intent.name is None
            or any(fnmatchcase(intent.name, pattern) for pattern in self.artifacts),
            "destinations": self.destinations is None or intent.destination in self.destinations,
            "sources": self.sources is None
            or intent.sources is None
            or not set(self.sources).isdisjoint(intent.sources),
        }
        return next((key for key, held in holds.items() if not held), "")

    def is_for(self, actor: Actor) -> bool:
        """Return whether the actor is in one of its groups. Names are compared exactly."""
        return self.groups is None or bool(self.group_of(actor))

    def group_of(self, actor: Actor) -> str:
        """Return the first of its groups that the actor is in, empty for none."""
        return next((group for group in self.groups or () if group in actor.groups), "")


def read_rules(value: object) -> tuple[Rule, ...]:
    """Read the file's rules, in their order.

    Raises:
        InvalidSetting: they are no list of tables, or a key or a value is wrong.
    """
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        raise InvalidSetting(
            "rules in the settings file must be tables of a list",
            fix="begin each rule with a line [[rules]]",
        )
    return tuple(_read(table, number) for number, table in enumerate(value, start=1))


def _read(table: dict[str, object], number: int) -> Rule:
    try:
        return Rule.model_validate(table)
    except ValidationError as error:
        problem = most_telling(error)
    if problem.unknown:
        raise InvalidSetting(
            f"rule {number} in the settings file has an unknown key {problem.name!r}",
            fix=nearest(problem.name, Rule.model_fields),
        )
    key = problem.name.partition(".")[0]
    where = f"rule {number} in the settings file" + (f": {key}" if key else "")
    raise InvalidSetting(f"{where} {problem.message}")
