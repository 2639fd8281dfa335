"""An OCI registry in this process, for tests and the sandbox.

Also a program, without pytest and without extras:
`python -m imgctl_core.testing.registry --port 5000`.
"""

from __future__ import annotations

from imgctl_core.testing.registry.app import LARGEST_MANIFEST, Registry
from imgctl_core.testing.registry.state import Manifest

__all__ = ["LARGEST_MANIFEST", "Manifest", "Registry"]
