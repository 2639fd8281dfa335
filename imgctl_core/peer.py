"""Where a call came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection.

    `address` is as people write it, with the port; `protected` whether nobody on the way
    can listen: TLS, or this very machine; `certificate` the subject of the client's
    certificate, checked, where it had one; `agent` the program that it says it is, which
    proves nothing.
    """

    address: str = ""
    protected: bool = False
    certificate: str = ""
    agent: str = ""


#: Nobody's: for calls that came over no connection.
NOWHERE: Final = Peer()
