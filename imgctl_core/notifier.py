"""The base class of everything that tells people about promotions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic

from imgctl_core.context import Context
from imgctl_core.models import PromotionEvent
from imgctl_core.promoter import SettingsT


class Notifier(ABC, Generic[SettingsT]):
    """Tells people, or another system, what became of a promotion.

    Runs after the outcome is recorded, in a guard and under a time limit of its own:
    what it raises is logged, and changes nothing.

    Class attributes:

    kind
        What `[notifiers.<name>] kind` names; default for `<name>` itself.
    Settings
        A pydantic model of the table `[notifiers.<name>]`.
    variables
        Environment variables that set fields of `Settings`. When one of them is set, a
        notifier named after the kind exists without any table.
    api_version
        The plugin interface that the class was written for, (major, minor).
    """

    kind: ClassVar[str]
    variables: ClassVar[Mapping[str, str]] = {}
    api_version: ClassVar[tuple[int, int]] = (1, 0)

    Settings: type[SettingsT]

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    @abstractmethod
    def notify(self, event: PromotionEvent, context: Context) -> None:
        """Tell of one ended promotion. Respect `context.deadline`."""

    def close(self) -> None:
        """Give back connections and threads. Called once, when the server stops."""
