"""What the server needs of its surroundings, so that this room knows no engine, no file
and no issuer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from imgctl_core.access import Explanation
from imgctl_core.context import CancelToken
from imgctl_core.models import (
    JSON,
    Actor,
    EnvironmentInfo,
    ManifestRow,
    PlanReport,
    PluginInfo,
    Progress,
    Promotion,
    PromotionRequest,
    Request,
)
from imgctl_core.peer import NOWHERE, Peer

#: Writes one record to the audit log: the event's name and its fields.
Audit = Callable[[str, Mapping[str, JSON]], object]


class Verifier(Protocol):
    """Says whose token it is."""

    def verify(self, token: str) -> Actor:
        """Return the actor.

        Raises:
            TokenRefused: for every token that isn't good.
            IssuerUnreachable: there are no keys to check it with.
        """


class Admission(Protocol):
    """Says who may use the server at all."""

    def admit(self, actor: Actor) -> Actor:
        """Return the actor with the group that lets them in.

        Raises:
            NotAuthorized: none of their groups does.
        """


class Engine(Protocol):
    """Does the promoting and the activating. Every method may raise typed errors."""

    def start(self, request: Request, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        """Check the request, start it in a thread of its own and return at once."""

    def plan(
        self, request: Request, actor: Actor, cancel: CancelToken, peer: Peer = NOWHERE
    ) -> PlanReport:
        """Find out what a promotion or an activation would do."""

    def export_plan(
        self, request: PromotionRequest, actor: Actor, cancel: CancelToken, peer: Peer = NOWHERE
    ) -> tuple[PlanReport, Iterator[ManifestRow]]:
        """The same, and the rows of the plans, which are made as they are asked for."""

    def get(self, promotion_id: str, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        """Return a promotion as it stands."""

    def manifest(
        self, promotion_id: str, actor: Actor, ref: str = "", peer: Peer = NOWHERE
    ) -> Iterator[ManifestRow]:
        """Return the rows of what an ended promotion left; of one item, or of all."""

    def cancel(self, promotion_id: str, actor: Actor, peer: Peer = NOWHERE) -> Promotion:
        """Ask a promotion to stop."""

    def watch(
        self, promotion_id: str, actor: Actor, gone: threading.Event, peer: Peer = NOWHERE
    ) -> Iterator[Progress | Promotion]:
        """Yield progress at least every 10 s, then the ended promotion, last.

        It ends without the promotion only when `gone` is set.
        """

    def drain(self, seconds: float) -> None:
        """Take no new promotion, wait for the running ones, then cancel them."""


class Catalogue(Protocol):
    """Knows what there is."""

    def environments(self, actor: Actor) -> tuple[EnvironmentInfo, ...]:
        """Return the environments as the actor sees them."""

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return the installed plugins."""

    def destinations(self, actor: Actor) -> tuple[str, ...]:
        """Return the environments to which the actor may promote."""

    def explain(self, request: PromotionRequest, actor: Actor) -> Explanation:
        """Return what every check says of a request of one reference."""
