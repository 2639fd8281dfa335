"""The SSH-signed JWT that Dex's SSH connector takes as subject token.

`S + "." + base64url(base64(BLOB))`, where S is base64url(header) + "." +
base64url(claims), both unpadded, and BLOB is the inner part of the SSH signature over
the bytes of S. The inner base64 is the standard alphabet, padded. Neither the double
encoding nor the bare blob is an accident: kubectl-ssh-oidc builds the token that way and
the connector refuses every other form.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping

ISSUER = "kubectl-ssh-oidc"
"""The `iss` that deployments of the connector expect in `allowed_issuers`."""

NOT_BEFORE_MARGIN = 60
"""Seconds that `nbf` lies in the past: the connector checks it without any leeway."""

LIFETIME = 180
"""Seconds until `exp`. The connector keeps no list of used tokens, so this is short."""


def claims(*, username: str, issuer: str, audience: str, now: float) -> dict[str, object]:
    """Return the claims of a login by `username` at the Dex named `issuer`.

    `aud` must be one string, exactly the connector's `dex_instance_id`; `audience` is
    what the token will be for, checked against the connector's
    `allowed_target_audiences`.
    """
    moment = int(now)
    return {
        "iss": ISSUER,
        "sub": username,
        "aud": issuer,
        "target_audience": audience,
        "exp": moment + LIFETIME,
        "iat": moment,
        "nbf": moment - NOT_BEFORE_MARGIN,
        "jti": os.urandom(16).hex(),
    }


def signing_input(claims: Mapping[str, object]) -> bytes:
    """Return S, the bytes to be signed as they are."""
    parts = ({"alg": "SSH", "typ": "JWT"}, claims)
    return b".".join(_segment(_json(part)) for part in parts)


def assemble(signed: bytes, blob: bytes) -> str:
    """Join S and the blob of its signature."""
    return (signed + b"." + _segment(b64encode(blob))).decode("ascii")


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _segment(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
