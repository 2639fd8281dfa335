"""The base class of everything that can promote a kind of artifact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from imgctl_core.context import Context
from imgctl_core.models import JSON, ArtifactRef, Plan, PromotionItem


class PluginModel(BaseModel):
    """Base of a plugin's settings and endpoints: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoSettings(PluginModel):
    """The settings of a plugin that has none."""


EndpointT = TypeVar("EndpointT", bound=BaseModel)
SettingsT = TypeVar("SettingsT", bound=BaseModel)


class Promoter(ABC, Generic[EndpointT, SettingsT]):
    """Makes artifacts of one kind available in another environment.

    The server makes one instance and calls it from many threads; keep what belongs to
    one promotion in the plan, not in `self`. The engine calls, in this order:
    `parse`, `plan`, `stage`, `publish`, `verify`, `manifest`. When `plan` says that the
    destination holds the digest already, only `manifest` is called after it.

    Class attributes:

    kind
        The word in front of a reference, `[a-z][a-z0-9-]*`.
    Endpoint
        A pydantic model: what an environment is for this kind.
    Settings
        A pydantic model of the plugin's own settings, the table `[plugins.<kind>]`.
    family
        `IMGCTL_<FAMILY>_<NAME>` in the server's environment gives environment <NAME>
        an endpoint of this kind, by setting the field named `family_field`.
    variables
        Environment variables that set fields of `Settings`: `{"field": "VARIABLE"}`.
    options
        What may be asked for with one promotion, with the values allowed:
        `{"referrers": ("all", "none")}`. What was asked for is in `item.options`.
    api_version
        The plugin interface that the class was written for, (major, minor).
    """

    kind: ClassVar[str]
    family: ClassVar[str] = ""
    family_field: ClassVar[str] = ""
    variables: ClassVar[Mapping[str, str]] = {}
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    api_version: ClassVar[tuple[int, int]] = (1, 0)

    Endpoint: type[EndpointT]
    Settings: type[SettingsT]

    def __init__(self, settings: SettingsT, endpoints: Mapping[str, EndpointT]) -> None:
        """Take the settings, and this kind's endpoints by the environment's name.

        No network here: the server must start when an endpoint is down.
        """
        self.settings = settings
        self.endpoints = endpoints

    @abstractmethod
    def parse(self, text: str) -> ArtifactRef:
        """Parse what follows `<kind>:`. Pure.

        Raises:
            InvalidReference: the text is no reference of this kind.
        """

    @abstractmethod
    def plan(self, item: PromotionItem, context: Context) -> Plan:
        """Find out what the promotion would do. Reads only.

        Resolve what the reference names to a digest, once, and look at what the
        destination holds under that name.

        Raises:
            ArtifactNotFound: the source has no such artifact.
            Conflict: the destination holds something else, and `item.replace` is false.
        """

    @abstractmethod
    def stage(self, plan: Plan, context: Context) -> None:
        """Bring everything that nobody can see yet. May be long; may be run again."""

    @abstractmethod
    def publish(self, plan: Plan, context: Context) -> None:
        """Make it visible, in one short and idempotent step.

        Look at the destination again first.

        Raises:
            Conflict: it holds something that the plan did not see, and may not be
                replaced.
        """

    @abstractmethod
    def verify(self, plan: Plan, context: Context) -> str:
        """Read the destination again and return the digest that it now holds."""

    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        """Yield what the artifact consists of, one row a part, in a fixed order.

        After `verify` the rows are the promotion's record: what is at the destination
        now, as far as it is known. After `plan` alone they say what would be done, or
        what is there when that is nothing. Not every kind has parts worth listing;
        nothing is the default.

        Reads nothing: the rows come from the plan, and from what was found out on the way
        and put into `context.scratch`. There may be a million, and they are called for
        one at a time; each is a JSON object of at most 1 MiB. What is raised here changes
        no outcome: the promotion is there, and has no manifest.
        """
        yield from ()

    def describe(self, endpoint: EndpointT) -> str:
        """Return the endpoint as one word for people: an address, never a secret."""
        return str(getattr(endpoint, self.family_field, "")) if self.family_field else ""

    def same(self, source: EndpointT, destination: EndpointT) -> bool:
        """Return whether two endpoints are one and the same place."""
        return source == destination

    def close(self) -> None:
        """Give back connections and threads. Called once, when the server stops."""
