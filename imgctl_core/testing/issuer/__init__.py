"""An OpenID issuer in this process that speaks Dex's SSH token exchange.

Also a program, without pytest and without extras:
`python -m imgctl_core.testing.issuer --user alice=~/.ssh/id_ed25519.pub`.
"""

from __future__ import annotations

from imgctl_core.testing.issuer.app import Issuer, Mode
from imgctl_core.testing.issuer.signing import ABSENT, SigningKey, encode_subject
from imgctl_core.testing.issuer.users import Connector, User

__all__ = ["ABSENT", "Connector", "Issuer", "Mode", "SigningKey", "User", "encode_subject"]
