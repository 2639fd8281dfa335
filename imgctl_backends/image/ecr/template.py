"""How repositories that are missing at a destination are to be made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from imgctl_core.promoter import PluginModel

#: CreateRepository in ECR's API reference: at most five filters, of this grammar.
_MOST_FILTERS: Final = 5
_FILTER: Final = re.compile(r"[0-9a-zA-Z._*-]{1,128}", re.ASCII)
_MOST_STARS: Final = 2


def _json_text(value: str) -> str:
    """Return the JSON that was written, or what the file named holds."""
    text = value
    if not value.lstrip().startswith("{"):
        try:
            text = Path(value).read_text("utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise ValueError("it is neither JSON nor a file that can be read") from error
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(policy, dict):
        raise ValueError("it is no JSON object")
    return text


PolicyText = Annotated[str, AfterValidator(_json_text)]


class RepositoryTemplate(PluginModel):
    """What a new ECR repository is like.

    mutability
        Whether tags may be moved. There is no default: ECR's own, MUTABLE, is seldom
        what a destination of promotions wants.
    exclusions
        Tags that are excepted, with `*` for any text, where mutability says
        `_WITH_EXCLUSION`.
    kms_key
        ARN, id or alias of a KMS key; without one ECR encrypts with its own (AES256).
    scan_on_push
        Whether images are scanned when they arrive.
    lifecycle_policy, repository_policy
        JSON, or the name of a file with it. The file is read when the server starts.
    tags
        The repository's tags in AWS.
    """

    mutability: Literal[
        "IMMUTABLE", "MUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"
    ]
    exclusions: tuple[str, ...] = ()
    kms_key: str | None = Field(default=None, min_length=1, max_length=2048)
    scan_on_push: bool = False
    lifecycle_policy: PolicyText | None = None
    repository_policy: PolicyText | None = None
    tags: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _exclusions_fit(self) -> Self:
        if self.mutability.endswith("_WITH_EXCLUSION") != bool(self.exclusions):
            raise ValueError(
                "exclusions belong to a mutability that ends in _WITH_EXCLUSION: give both or none"
            )
        if len(self.exclusions) > _MOST_FILTERS:
            raise ValueError(f"ECR takes at most {_MOST_FILTERS} exclusions")
        for text in self.exclusions:
            if _FILTER.fullmatch(text) is None or text.count("*") > _MOST_STARS:
                raise ValueError(
                    f"the exclusion {text!r} is no tag with at most {_MOST_STARS} '*' in it"
                )
        return self
