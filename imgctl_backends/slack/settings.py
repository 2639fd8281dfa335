"""The table `[notifiers.<name>]` of kind `slack`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from imgctl_core import PluginModel
from imgctl_core.hosts import is_loopback


def _check_url(secret: SecretStr) -> SecretStr:
    # Whoever knows the address can post: no message may repeat it.
    try:
        parts = urlsplit(secret.get_secret_value())
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise ValueError("is no address of a webhook") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("is no http:// or https:// address")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must begin with https://: the address itself is a secret")
    return secret


class SlackSettings(PluginModel):
    """An incoming webhook, and how many seconds it may take."""

    # Without this a validation error would show the value that it refuses.
    model_config = ConfigDict(hide_input_in_errors=True)

    webhook_url: Annotated[SecretStr, AfterValidator(_check_url)]
    timeout: float = Field(default=10.0, gt=0, le=60)
