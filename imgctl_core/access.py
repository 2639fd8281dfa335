"""Who somebody is to a server, and what they may do there: plain records."""

from __future__ import annotations

from dataclasses import dataclass

from imgctl_core.models import Actor


@dataclass(frozen=True, slots=True)
class Decision:
    """What one check says. `check` is the setting behind it, as a dotted key.

    `why` is one sentence either way; `fix` says what would make a no a yes. `group` is the
    actor's that made it one, where a group did; it stays within the server.
    """

    check: str
    allowed: bool
    why: str
    fix: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What every check says of one promotion. Nothing was done."""

    ref: str
    source: str
    destination: str
    decisions: tuple[Decision, ...]

    @property
    def allowed(self) -> bool:
        """Whether the promotion would be allowed. No check at all is no yes."""
        return bool(self.decisions) and all(one.allowed for one in self.decisions)


@dataclass(frozen=True, slots=True)
class AuthReport:
    """Who the caller is to the server, and what they may do.

    `explanation` is there when one was asked for.
    """

    actor: Actor
    destinations: tuple[str, ...] = ()
    server_version: str = ""
    explanation: Explanation | None = None
