"""The events that a log has: a closed list, for whoever looks for one."""

from __future__ import annotations

from typing import Final

from imgctl_core.audit.chain import OPENING
from imgctl_core.models import Outcome

EVENTS: Final = frozenset(
    {
        "server.started",
        "server.stopped",
        "server.limited",
        "auth.checked",
        "authn.denied",
        "authz.denied",
        "plan.made",
        "promotion.requested",
        # Who is denied has no promotion: that is authz.denied.
        *(f"promotion.{outcome.value}" for outcome in Outcome if outcome is not Outcome.DENIED),
        "promotion.interrupted",
        "promotion.cancel_requested",
        *OPENING,
    }
)
