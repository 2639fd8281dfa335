"""An issuer's keys, found the way OpenID Connect Discovery 1.0 says.

The issuer's document must name the very issuer that we were told (section 4.3), and the
keys must come from its own origin: an answer that sends us elsewhere for keys would be a
way to bring in one's own.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from imgctl_core.auth.fetch import FetchFailed, get_object
from imgctl_core.auth.keys import KeySet, usable_keys
from imgctl_core.errors import InvalidSetting
from imgctl_core.hosts import is_loopback

_WELL_KNOWN = "/.well-known/openid-configuration"
_PORTS = {"https": 443, "http": 80}


def check_issuer_url(issuer: str) -> None:
    """Check an issuer's address before anything is sent to it.

    Raises:
        InvalidSetting: it is no https address (http on the loopback), or has parts that
            an issuer's address may not have.
    """
    try:
        parts = _parse(issuer)
        if parts.query or parts.fragment:
            raise ValueError("it has a query or a fragment")
    except ValueError as error:
        raise InvalidSetting(
            f"the issuer's address can't be used: {error}",
            fix="OIDC_ISSUER_URL takes an https:// address, http:// only on the loopback",
        ) from None


def fetch_keys(issuer: str, *, timeout: float) -> KeySet:
    """Fetch the issuer's usable keys: two requests of at most `timeout` seconds each.

    Raises:
        FetchFailed: it can't be reached, or does not answer as that issuer should.
    """
    document = get_object(issuer.rstrip("/") + _WELL_KNOWN, timeout=timeout)
    named = document.get("issuer")
    if named != issuer:
        raise FetchFailed(
            f"{issuer}: it calls itself {ascii(named)[:200]};"
            " OIDC_ISSUER_URL must be that to the letter, the last slash included"
        )
    address = document.get("jwks_uri")
    if not isinstance(address, str):
        raise FetchFailed(f"{issuer}: its discovery document has no jwks_uri")
    try:
        foreign = _origin(_parse(address)) != _origin(_parse(issuer))
    except ValueError as error:
        raise FetchFailed(f"{issuer}: its jwks_uri can't be used: {error}") from None
    if foreign:
        raise FetchFailed(f"{issuer}: its jwks_uri is at another origin, {ascii(address)[:200]}")
    keys = get_object(address, timeout=timeout)
    try:
        return usable_keys(keys)
    except ValueError as error:
        raise FetchFailed(f"{address}: {error}") from None


def _parse(url: str) -> SplitResult:
    """Take an address apart, if it is one that keys may come from.

    Raises:
        ValueError: it is not. The text holds nothing of the address, which may have a
            password in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is no address") from None
    if parts.scheme not in _PORTS or not host:
        raise ValueError("it is no http(s) address with a host")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("plain http is for the loopback only")
    if "@" in parts.netloc:
        raise ValueError("it holds credentials")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    """Return scheme, host and port (RFC 6454)."""
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port
