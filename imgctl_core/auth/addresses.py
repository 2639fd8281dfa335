"""Addresses that an issuer's documents may come from."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from imgctl_core.hosts import is_loopback

_PORTS = {"https": 443, "http": 80}


def parse_address(url: str) -> SplitResult:
    """Take an address apart, if it is one that keys may come from.

    Raises:
        ValueError: it is not. The text holds nothing of the address, which may have a
            password in it.
    """
    # urlsplit drops tabs and newlines, and others read a backslash as a slash: such an
    # address is another one for whoever fetches it.
    if "\\" in url or not all("!" <= char <= "~" for char in url):
        raise ValueError("it has a character that no address may have")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is no address") from None
    if parts.scheme not in _PORTS or not host:
        raise ValueError("it is no https:// address with a host")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("plain http is for the loopback only, so it must begin with https://")
    if "@" in parts.netloc:
        raise ValueError("it holds credentials")
    if parts.fragment:
        raise ValueError("it has a fragment")
    return parts


def parse_issuer(url: str) -> SplitResult:
    """Take an issuer's own address apart, to which nothing may be added but a path.

    Raises:
        ValueError: it is no such address; see `parse_address`.
    """
    parts = parse_address(url)
    if parts.query:
        raise ValueError("it has a query")
    return parts


def origin(parts: SplitResult) -> tuple[str, str | None, int]:
    """Return scheme, host and port (RFC 6454)."""
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port
