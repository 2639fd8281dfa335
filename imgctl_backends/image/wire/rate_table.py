"""The calls that a registry counts, and how many of each a second it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from pydantic import Field

from imgctl_core.promoter import PluginModel

#: ECR's names for its actions, as its quotas have them.
Action = Literal[
    "put_image",
    "initiate_layer_upload",
    "upload_layer_part",
    "complete_layer_upload",
    "batch_check_layer_availability",
    "batch_get_image",
    "get_download_url_for_layer",
    "get_authorization_token",
]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

#: Four fifths of ECR's default quotas for an account in a region ("Amazon ECR service
#: quotas"): a burst of the last fifth keeps within the quota, too.
ECR_RATES: Final[Mapping[Action, float]] = {
    "put_image": 8,
    "initiate_layer_upload": 80,
    "upload_layer_part": 400,
    "complete_layer_upload": 80,
    "batch_check_layer_availability": 800,
    "batch_get_image": 1600,
    "get_download_url_for_layer": 2400,
    "get_authorization_token": 400,
}


class RateTable(PluginModel):
    """Calls a second, by action; 0 for no limit, None for what holds otherwise."""

    put_image: float | None = Field(default=None, ge=0)
    initiate_layer_upload: float | None = Field(default=None, ge=0)
    upload_layer_part: float | None = Field(default=None, ge=0)
    complete_layer_upload: float | None = Field(default=None, ge=0)
    batch_check_layer_availability: float | None = Field(default=None, ge=0)
    batch_get_image: float | None = Field(default=None, ge=0)
    get_download_url_for_layer: float | None = Field(default=None, ge=0)
    get_authorization_token: float | None = Field(default=None, ge=0)

    def over(self, rates: Mapping[Action, float]) -> dict[Action, float]:
        """Return `rates` with what this table says in their place."""
        said: dict[Action, float] = {
            action: value for action in ACTIONS if (value := getattr(self, action)) is not None
        }
        return {**rates, **said}
