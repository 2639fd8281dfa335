"""An issuer's keys, found the way OpenID Connect Discovery 1.0 says.

The issuer's document must name the very issuer that we were told (section 4.3), and the
keys must come from its own origin: an answer that sends us elsewhere for keys would be a
way to bring in one's own. Only the operator may say that they are elsewhere.
"""

from __future__ import annotations

from imgctl_core.auth.addresses import origin, parse_address, parse_issuer
from imgctl_core.auth.fetch import FetchFailed, get_object
from imgctl_core.auth.keys import KeySet, usable_keys
from imgctl_core.errors import InvalidSetting

_WELL_KNOWN = "/.well-known/openid-configuration"


def check_addresses(issuer: str, jwks_uri: str = "") -> None:
    """Check an issuer's address, and its keys' where one is given, before anything is sent.

    Raises:
        InvalidSetting: one is no https address (http on the loopback), or has parts that
            it may not have.
    """
    try:
        parse_issuer(issuer)
    except ValueError as error:
        raise InvalidSetting(
            f"the issuer's address can't be used: {error}",
            fix="OIDC_ISSUER_URL takes an https:// address, http:// only on the loopback",
        ) from None
    try:
        if jwks_uri:
            parse_address(jwks_uri)
    except ValueError as error:
        raise InvalidSetting(
            f"the address of the issuer's keys can't be used: {error}",
            fix="OIDC_JWKS_URI takes an https:// address, http:// only on the loopback",
        ) from None


def fetch_keys(issuer: str, jwks_uri: str = "", *, timeout: float) -> KeySet:
    """Fetch the issuer's usable keys: two requests of at most `timeout` seconds each.

    With `jwks_uri` the keys come from there, and the issuer itself is not asked.

    Raises:
        FetchFailed: it can't be reached, or does not answer as that issuer should.
    """
    address = jwks_uri or _discovered(issuer, timeout)
    keys = get_object(address, timeout=timeout)
    try:
        return usable_keys(keys)
    except ValueError as error:
        raise FetchFailed(f"{address}: {error}") from None


def _discovered(issuer: str, timeout: float) -> str:
    """Return where the issuer says that its keys are, which must be at its own origin."""
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
        foreign = origin(parse_address(address)) != origin(parse_issuer(issuer))
    except ValueError as error:
        raise FetchFailed(f"{issuer}: its jwks_uri can't be used: {error}") from None
    if foreign:
        raise FetchFailed(
            f"{issuer}: its jwks_uri is at another origin, {ascii(address)[:200]};"
            " if the keys are to come from there, set OIDC_JWKS_URI to it"
        )
    return address
