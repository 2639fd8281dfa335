"""The promoter of kind `spa`: builds of single-page applications, from bucket to bucket.

A build `name` in version `v` is every object under `v/` in the bucket `<name>-<suffix>`,
where the suffix is the environment's. Bytes are copied on the server side of S3 wherever
one identity serves both ends.
"""

from __future__ import annotations

from typing import Any

from imgctl_core import Promoter, hookimpl


@hookimpl
def imgctl_promoters() -> list[type[Promoter[Any, Any]]]:
    from imgctl_backends.spa.promoter import SpaPromoter

    return [SpaPromoter]
