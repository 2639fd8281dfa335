"""What a manifest is that does not say it."""

from __future__ import annotations

import json

from imgctl_backends.image.content.manifests import OCI_INDEX, OCI_MANIFEST


def implied_type(content: bytes) -> str:
    """Return the type of a manifest that came without a Content-Type; "" for no manifest.

    Only OCI's may leave `mediaType` out; Docker's must have it.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST
