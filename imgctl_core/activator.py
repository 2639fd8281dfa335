"""What a promoter is besides, when versions of its kind can be made live."""

from __future__ import annotations

from abc import ABC, abstractmethod

from imgctl_core.context import Context
from imgctl_core.models import ArtifactRef, Plan, PromotionItem


class Activator(ABC):
    """Makes one of the versions that an environment holds the one that people get.

    An optional capability: a promoter that has it inherits from this class too. The
    engine takes the same path as for a promotion, with `source` and `destination` of the
    item both naming the environment: `plan_activation`, the lock, the audit record,
    `activate`, `verify_activation`. What was live before is read from the environment
    itself, so that going back works from any server.

    The engine lets one activation of an artifact run at a time. When it had to wait for
    another one it plans again, and then the version that `item.ref` names is the one that
    the first plan found.

    `item.ref.version` is None when the version that was live before is meant. `item.wait`
    asks not to end before caches on the way to people have the new one, too. That wait is
    the last thing that `activate` does, and a cancel ends the waiting alone: the version
    is live already, so note that caches may be behind and return.
    """

    @abstractmethod
    def parse_name(self, text: str) -> ArtifactRef:
        """Parse what follows `<kind>:` when no version is named. Pure.

        Raises:
            InvalidReference: the text is no artifact's name.
        """

    @abstractmethod
    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        """Find out what making the version live would do. Reads only.

        The plan's item names the version, its digest is the version's, and `current` is
        the digest of what is live now, None for nothing. When both are one there is
        nothing to do, unless `complete` is false.

        Raises:
            EndpointNotFound: the environment's settings don't say what live means there.
            ArtifactNotFound: the environment does not hold the version, or none was live
                before.
            VerificationFailed: the version is there and not whole.
        """

    @abstractmethod
    def activate(self, plan: Plan, context: Context) -> None:
        """Make it live: short, idempotent, what people see last at the very end.

        Look at what is live again first.

        Raises:
            Conflict: it is something that the plan did not see.
        """

    @abstractmethod
    def verify_activation(self, plan: Plan, context: Context) -> str:
        """Read again what is live, and return its digest."""
