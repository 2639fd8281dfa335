"""Who may log in, and what the issuer says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    """One person of the SSH connector.

    `keys` are public keys as in an authorized_keys file: type, base64, and a comment if
    any. `name` and `email` are the claims of these names.
    """

    keys: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    email: str = ""
    name: str = ""


@dataclass(frozen=True)
class Connector:
    """What the SSH connector asks of a token, as its configuration in Dex says.

    `instance_id` is the `aud` that it wants, compared exactly; None leaves it unchecked.
    An empty tuple of allowed values allows all.
    """

    id: str = "ssh"
    instance_id: str | None = None
    allowed_issuers: tuple[str, ...] = ("kubectl-ssh-oidc",)
    allowed_target_audiences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clients:
    """The OAuth clients by id, with their secrets, and whom each one trusts.

    `trusted_peers["imgctl"] == ("imgctl-cli",)` lets imgctl-cli ask for tokens for
    imgctl, by a cross-client scope.
    """

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted_peers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def trusts(self, client: str, peer: str) -> bool:
        """Return whether `client` lets `peer` ask for tokens for it."""
        return peer in self.trusted_peers.get(client, ())
