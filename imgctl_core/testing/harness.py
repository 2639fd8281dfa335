"""What an author writes so that the contracts can test their plugin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from imgctl_core.notifier import Notifier
from imgctl_core.promoter import Promoter


class PromoterHarness(ABC):
    """How the contract reaches both ends without the promoter. Fresh for every test.

    reference
        What stands after `<kind>:` and names one artifact; nothing is there at first.
    bad_references
        Texts that are no references of this kind. The empty one is always tried.
    secrets
        Passwords, tokens, keys that the promoter was configured with, as texts.
    """

    source: ClassVar[str] = "dev"
    destination: ClassVar[str] = "prod"
    reference: str
    bad_references: Sequence[str] = ()
    secrets: Sequence[str] = ()

    @abstractmethod
    def make(self) -> Promoter[Any, Any]:
        """Return a new promoter with endpoints for `source` and `destination`.

        It is closed by the contract. Two of them stand for a server before and after a
        restart: they share the endpoints and nothing else.
        """

    @abstractmethod
    def seed(self, environment: str, variant: int) -> None:
        """Put the artifact of `reference` there, not through the promoter.

        The same variant is always the same content; another one differs. What is there
        is replaced, whatever the rules of promotion say.
        """

    @abstractmethod
    def snapshot(self, environment: str) -> Mapping[str, object]:
        """Return what people get there: names, each with its content or digest.

        Equal at both ends when the artifact is. Without what only an unfinished
        promotion left: blobs that no manifest names, assets that no entry point loads.
        """

    def inventory(self, environment: str) -> object:
        """Return all that is there, seen or not, to find out whether anything changed."""
        return self.snapshot(environment)

    def spoil(self) -> bool:
        """Make the source deliver wrong bytes from now on, under the right names.

        Return False when that can't be done: those bytes never pass by the promoter.
        """
        return False


class ActivatorHarness(ABC):
    """How the contract reaches an environment without the promoter. Fresh for every test.

    name
        What stands after `<kind>:` and names one artifact without a version.
    versions
        Two references to it with a version, as they stand after `<kind>:`. They differ in content;
        neither is there at first, and nothing is live.
    bad_names
        Texts that are no names of this kind. The empty one and `versions` are always
        tried.
    """

    environment: ClassVar[str] = "prod"
    name: str
    versions: tuple[str, str]
    bad_names: Sequence[str] = ()

    @abstractmethod
    def make(self) -> Promoter[Any, Any]:
        """Return a new promoter that is an Activator, with an endpoint for `environment`.

        It is closed by the contract. Two of them stand for two servers, or for one before
        and after a restart.
        """

    @abstractmethod
    def seed(self, reference: str) -> None:
        """Put that version there, whole and not live, not through the promoter."""

    @abstractmethod
    def live(self) -> object:
        """Return what people get now, the same whenever the same version is live.

        None when nothing is live.
        """

    @abstractmethod
    def inventory(self) -> object:
        """Return all that is there, to find out whether anything changed."""

    def spoil(self, reference: str) -> bool:
        """Take something away that the version needs. Return False when that can't be."""
        return False


class NotifierHarness(ABC):
    """How the contract sees what arrives. Fresh for every test.

    `secrets` are addresses, tokens and passwords that the notifier was configured with.
    """

    secrets: Sequence[str] = ()

    @abstractmethod
    def make(self) -> Notifier[Any]:
        """Return a new notifier. It is closed by the contract."""

    @abstractmethod
    def received(self) -> Sequence[str]:
        """Return each message that arrived, as text."""

    def break_down(self) -> bool:
        """Make the receiving side refuse everything. Return False when that can't be."""
        return False

    def hang(self) -> bool:
        """Make the receiving side take messages and never answer; False as above."""
        return False
