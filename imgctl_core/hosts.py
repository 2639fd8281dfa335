"""Which hosts are this machine: the one rule for where plain text is allowed."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Return whether `host` is literally the loopback.

    Only `localhost` and literal loopback addresses are. No name is looked up, and
    spellings that a resolver would accept (`127.1`, decimal, `0.0.0.0`,
    `localhost.example`) are remote: a name may point elsewhere tomorrow.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
