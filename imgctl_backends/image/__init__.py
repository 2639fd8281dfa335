"""The promoter of container images: kind `image`, the environments' family `REGISTRY`.

Images are copied over the OCI distribution API, manifest by manifest and blob by blob,
byte for byte. What is heavy (urllib3, boto3) is imported when a promotion needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgctl_core import hookimpl

if TYPE_CHECKING:
    from imgctl_backends.image.promoter import ImagePromoter

__all__ = ["imgctl_promoters"]


@hookimpl
def imgctl_promoters() -> list[type[ImagePromoter]]:
    """Return the one promoter of this plugin."""
    from imgctl_backends.image.promoter import ImagePromoter

    return [ImagePromoter]
