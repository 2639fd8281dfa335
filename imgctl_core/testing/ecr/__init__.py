"""A registry that behaves as Amazon ECR does, with the part of ECR's API that goes with it.

Also a program, without pytest and without extras:
`python -m imgctl_core.testing.ecr --port 5000 --repository app`.
"""

from __future__ import annotations

from imgctl_core.testing.ecr.api import ApiCall, EcrApi
from imgctl_core.testing.ecr.app import EcrRegistry
from imgctl_core.testing.ecr.limits import QUOTAS, Limits
from imgctl_core.testing.ecr.links import BlobHost
from imgctl_core.testing.ecr.repositories import RepositorySettings
from imgctl_core.testing.ecr.validator import Lag

__all__ = [
    "QUOTAS",
    "ApiCall",
    "BlobHost",
    "EcrApi",
    "EcrRegistry",
    "Lag",
    "Limits",
    "RepositorySettings",
]
