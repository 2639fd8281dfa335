"""How an actor, a caller's place and a time are written in records."""

from __future__ import annotations

from datetime import datetime

from imgctl_core.models import JSON, Actor
from imgctl_core.peer import Peer


def actor_fields(actor: Actor) -> dict[str, JSON]:
    """Return what the log says of an actor: never a token, only its fingerprint."""
    return {
        "iss": actor.issuer,
        "sub": actor.subject,
        "name": actor.name,
        "email": actor.email,
        "connector": actor.connector,
        "matched_group": actor.matched_group,
        "token_id": actor.token_id,
        "token_sha256": actor.token_sha256,
        "token_issued_at": moment(actor.issued_at),
        "token_expires_at": moment(actor.expires_at),
    }


def peer_fields(peer: Peer) -> dict[str, JSON]:
    """Return what the log says of where a call came from."""
    return {
        "peer": peer.address,
        "protected": peer.protected,
        "certificate": peer.certificate,
        "client": peer.agent,
    }


def moment(when: datetime | None) -> JSON:
    """Return a time as ISO 8601, null for none."""
    return when.isoformat() if when else None
