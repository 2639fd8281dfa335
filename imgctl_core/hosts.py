"""Which hosts are this machine: the one rule for where plain text is allowed."""

from __future__ import annotations


def is_loopback(host: str) -> bool:
    """Return whether `host` is literally this machine: 127.0.0.0/8, ::1 or `localhost`.

    No name is looked up: it may point elsewhere tomorrow. Everything that merely ends up
    here is remote, since resolvers and Python versions disagree about it: 0.0.0.0,
    `127.1`, decimal addresses, mapped IPv6, `localhost` with anything behind it.
    """
    if host.lower() == "localhost":
        return True
    import ipaddress  # costs a client's start, and is seldom needed

    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return address.is_loopback if address.version == 4 else str(address) == "::1"
