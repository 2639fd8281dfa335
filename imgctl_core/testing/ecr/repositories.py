"""What ECR knows of a repository apart from its content."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from imgctl_core.testing.registry.grammar import check_name
from imgctl_core.testing.registry.state import State

Mutability = Literal["MUTABLE", "IMMUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"]


@dataclass(slots=True)
class RepositorySettings:
    """A repository's settings. `exclusions` are wildcards of tags, as ECR has them."""

    mutability: Mutability = "MUTABLE"
    exclusions: tuple[str, ...] = ()
    encryption_type: str = "AES256"
    kms_key: str = ""
    scan_on_push: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    lifecycle_policy: str = ""
    policy: str = ""
    created_at: float = field(default_factory=time.time)

    def is_immutable(self, tag: str) -> bool:
        """Return whether that tag may be put once only."""
        excluded = any(fnmatch.fnmatchcase(tag, pattern) for pattern in self.exclusions)
        if self.mutability == "MUTABLE_WITH_EXCLUSION":
            return excluded
        return self.mutability.startswith("IMMUTABLE") and not excluded

    def same_encryption(self, other: RepositorySettings) -> bool:
        return (self.encryption_type, self.kms_key) == (other.encryption_type, other.kms_key)


class Repositories:
    """Every repository's settings; those made by putting content there have the defaults."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._settings: dict[str, RepositorySettings] = {}

    def names(self) -> tuple[str, ...]:
        return self._state.names()

    def find(self, name: str) -> RepositorySettings | None:
        """Return a repository's settings, None when it does not exist."""
        if name not in self._state.names():
            return None
        with self._lock:
            return self._settings.setdefault(name, RepositorySettings())

    def create(self, name: str, settings: RepositorySettings) -> bool:
        """Make a repository; return whether there was none.

        Raises:
            RegistryError: NAME_INVALID.
        """
        check_name(name)
        with self._lock:
            if name in self._state.names():
                return False
            self._settings[name] = settings
            self._state.make(name)
            return True
