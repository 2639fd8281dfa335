"""The records that travel through imgctl. All frozen, all plain data.

Sizes are bytes, times are aware UTC datetimes, digests read `sha256:<hex>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from imgctl_core.text import one_line

if TYPE_CHECKING:
    from imgctl_core.errors import ImgctlError

#: What may stand in a plan's `data`: JSON, and nothing else.
JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


class Outcome(str, Enum):
    """What became of a promotion or of one item of it."""

    PROMOTED = "promoted"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DENIED = "denied"
    CONFLICT = "conflict"
    ACTIVATED = "activated"

    @property
    def good(self) -> bool:
        """Whether the artifact is at the destination now, and live if that was asked for."""
        return self in (Outcome.PROMOTED, Outcome.UNCHANGED, Outcome.ACTIVATED)


class Action(str, Enum):
    """What a promotion was asked to do: bring something there, or make it live there."""

    PROMOTE = "promote"
    ACTIVATE = "activate"

    @property
    def done(self) -> Outcome:
        """What an item ends with for which it was done."""
        return Outcome.ACTIVATED if self is Action.ACTIVATE else Outcome.PROMOTED


class OnConflict(str, Enum):
    """What to do when the destination holds something else."""

    FAIL = "fail"
    REPLACE = "replace"


class Phase(str, Enum):
    """How far a promotion has come."""

    PLAN = "plan"
    LOCK = "lock"
    STAGE = "stage"
    PUBLISH = "publish"
    VERIFY = "verify"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """A reference, parsed by the promoter of its kind.

    `name` is what the artifact is called (a repository, a build's name); it and the kind
    are what rules about artifacts are matched against. `version` is the tag or version
    under which it is published, if any; `digest` pins its content, if given.
    """

    kind: str
    name: str
    version: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        text = self.name
        if self.version is not None:
            text += f":{self.version}"
        if self.digest is not None:
            text += f"@{self.digest}"
        return text


@dataclass(frozen=True, slots=True)
class Actor:
    """The authenticated person or machine. Holds no token.

    Of their token there are the first 16 hex digits of its SHA-256, the id that its issuer
    gave it (`token_id`; without one the digits again), and when it was made and runs out.
    """

    issuer: str
    subject: str
    name: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()
    matched_group: str = ""
    connector: str = ""
    token_id: str = ""
    expires_at: datetime | None = None
    issued_at: datetime | None = None
    token_sha256: str = ""

    @property
    def display(self) -> str:
        """Return the friendliest name there is."""
        return self.email or self.name or self.subject


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """What was asked for. `source` is empty when the server's default is meant.

    `fail_fast` lets one item that fails stop those that are not published yet. `deep`
    trusts nothing that a destination merely says it has. `options` are what single kinds
    understand beyond that, as their promoters define them.
    """

    action: ClassVar[Action] = Action.PROMOTE

    refs: tuple[str, ...]
    destination: str
    source: str = ""
    on_conflict: OnConflict = OnConflict.FAIL
    request_id: str = ""
    fail_fast: bool = False
    deep: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActivationRequest:
    """What was asked to go live, in one environment that holds it already.

    `ref` names a version, or with `previous` none: the version is meant that was live
    before the one that is now. `wait` asks not to end before caches on the way to people
    have it, too.
    """

    action: ClassVar[Action] = Action.ACTIVATE

    ref: str
    environment: str
    previous: bool = False
    wait: bool = False
    request_id: str = ""

    @property
    def refs(self) -> tuple[str, ...]:
        """The references of the request, as every kind of request has them."""
        return (self.ref,)


#: Everything that a promotion can be asked for by.
Request = PromotionRequest | ActivationRequest


@dataclass(frozen=True, slots=True)
class PromotionItem:
    """One artifact of a promotion, as a promoter gets it to plan.

    `source` and `destination` are names of environments; their endpoints are in the
    promoter's `endpoints`. Of an activation both are the one environment. `replace` says
    that something else at the destination may be replaced: it was asked for and the
    environment allows it. `deep` asks to trust nothing that the destination merely says
    it has. `options` are those of the promoter's `options` that were asked for. `wait` is
    for activations alone: not to end before caches on the way to people have the new
    version, too.
    """

    text: str
    ref: ArtifactRef
    source: str
    destination: str
    replace: bool = False
    deep: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    wait: bool = False

    def __post_init__(self) -> None:
        # A copy that nobody can write to: frozen as the rest.
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a plan would do, for people to read."""

    action: str
    subject: str
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a promotion of one item would do: resolved, pinned to a digest, plain data.

    `current` is the digest that the destination holds under this name now, None when
    there is nothing. `current == digest` means that there is nothing to do, unless
    `complete` is false: the name is right, and something below it is missing. `data` is
    the promoter's own and must be JSON, so that a plan can be shown, hashed, saved and
    applied later.
    """

    item: PromotionItem
    digest: str
    current: str | None = None
    complete: bool = True
    bytes_to_copy: int = 0
    bytes_present: int = 0
    steps: tuple[Step, ...] = ()
    data: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def unchanged(self) -> bool:
        """Whether the destination holds this digest under this name, and all of it."""
        return self.current == self.digest and self.complete


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as data: what is left of an `ImgctlError` in a result."""

    reason: str
    message: str
    fix: str = ""
    id: str = ""

    @classmethod
    def of(cls, error: ImgctlError) -> Failure:
        return cls(error.reason, one_line(error.message), one_line(error.fix), error.id)


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One item of a plan as shown to people: a plan, or the reason why there is none."""

    text: str
    kind: str
    outcome: Outcome
    digest: str = ""
    current: str = ""
    bytes_to_copy: int = 0
    bytes_present: int = 0
    steps: tuple[Step, ...] = ()
    error: Failure | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What a promotion of all its items, or an activation, would do."""

    source: str
    destination: str
    outcome: Outcome
    items: tuple[PlannedItem, ...]
    action: Action = Action.PROMOTE


@dataclass(frozen=True, slots=True)
class ItemProgress:
    """How far one item has come. `message` is the promoter's last word on it."""

    text: str
    phase: Phase
    bytes_total: int = 0
    bytes_copied: int = 0
    bytes_present: int = 0
    bytes_mounted: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a promotion has come."""

    phase: Phase
    items: tuple[ItemProgress, ...]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item. `outcome` is None while it is not over.

    `notes` are what a person should know although the outcome does not show it.
    `manifest_rows` and `manifest_digest` are the size and the digest of its manifest, 0
    and empty when there is none.
    """

    text: str
    kind: str
    outcome: Outcome | None = None
    digest: str = ""
    bytes_copied: int = 0
    bytes_present: int = 0
    bytes_mounted: int = 0
    error: Failure | None = None
    notes: tuple[str, ...] = ()
    manifest_rows: int = 0
    manifest_digest: str = ""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One thing that an artifact consists of, as its kind describes it.

    `text` is the item's reference, `json` one JSON object: sorted keys, no spaces, ASCII.
    """

    text: str
    json: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """One request and its life. `outcome` and `ended_at` are None while it runs.

    An activation is one too: its `action` says so, and both ends are the environment.
    """

    id: str
    source: str
    destination: str
    actor: Actor
    items: tuple[ItemResult, ...]
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    request_id: str = ""
    audit_head: str = ""
    audit_degraded: bool = False
    action: Action = Action.PROMOTE

    @property
    def seconds(self) -> float:
        """Return how long it took, 0.0 while it runs."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else 0.0


@dataclass(frozen=True, slots=True)
class PromotionEvent:
    """What notifiers are told: something was promoted or went live, or it did not."""

    promotion: Promotion


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """An environment's endpoint for one kind, as shown to people."""

    kind: str
    address: str


@dataclass(frozen=True, slots=True)
class EnvironmentInfo:
    """An environment, as one actor sees it."""

    name: str
    endpoints: tuple[EndpointInfo, ...]
    default_source: bool = False
    may_promote: bool = False
    allow_replace: bool = False


class PluginStatus(str, Enum):
    """What became of an installed plugin."""

    ACTIVE = "active"
    QUARANTINED = "quarantined"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """An installed plugin and what became of it.

    `phase` and `error` say where and why a quarantined one failed: `import`,
    `register`, `classify` or `settings`.
    """

    name: str
    distribution: str
    version: str
    status: PluginStatus
    promoters: tuple[str, ...] = ()
    notifiers: tuple[str, ...] = ()
    phase: str = ""
    error: str = ""
