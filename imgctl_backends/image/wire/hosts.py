"""Which hosts a registry may send us to, and with what.

A registry names other hosts in redirects, upload locations and token realms. Whoever
controls it could so point us at machines that only we can reach, or have our credentials
sent elsewhere. Three rules hold against that: `Authorization` never leaves the origin it
is for; a token realm on another host gets credentials only when `token_hosts` lists it,
over https; and a host that nobody listed must not be at a private address, which is
looked at when the connection stands, so that DNS can't answer twice.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urljoin, urlsplit

from imgctl_backends.image.ecr.hosts import is_ecr_host
from imgctl_backends.image.endpoint import HUB, ImageEndpoint
from imgctl_core.errors import EndpointFailed

#: ECR sends readers to S3, which a VPC endpoint may put at a private address.
_ECR_NEIGHBOURS = ("*.amazonaws.com", "*.amazonaws.com.cn", "*.amazonaws.eu")

#: NAT64 (RFC 6052, RFC 8215): the last 32 bits are an IPv4 address.
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))

_PORTS = {"http": 80, "https": 443}


class HostRules:
    """The rules for one endpoint."""

    def __init__(self, endpoint: ImageEndpoint) -> None:
        self._own = endpoint.address.host
        listed = endpoint.token_hosts
        if self._own == HUB:
            listed += ("auth.docker.io",)
        self._listed = listed
        self._neighbours = _ECR_NEIGHBOURS if is_ecr_host(self._own) else ()

    def may_be_private(self, url: str) -> bool:
        """Whether the URL's host may be at an address that is not public."""
        host = _host(urlsplit(url))
        return host == self._own or _listed(host, self._listed + self._neighbours)

    def may_have_credentials(self, realm: str, registry_url: str) -> bool:
        """Whether a token realm may be sent our credentials."""
        parts, registry = urlsplit(realm), urlsplit(registry_url)
        if parts.scheme != "https" and parts.scheme != registry.scheme:
            return False
        host = _host(parts)
        return host == self._own or (parts.scheme == "https" and _listed(host, self._listed))

    def guard(self, address: str) -> None:
        """Refuse a peer at a private address.

        Raises:
            EndpointFailed: it is one.
        """
        peer = ipaddress.ip_address(address.partition("%")[0])
        if not _reached(peer).is_global:
            raise EndpointFailed(
                f"the registry {self._own} sent us to the private address {peer}, "
                "where we don't follow",
                fix="if that host belongs to the registry, list it in the endpoint's token_hosts",
            )


def same_origin(one: str, other: str) -> bool:
    """Return whether two URLs have scheme, host and port in common."""
    return _origin(urlsplit(one)) == _origin(urlsplit(other))


def follow(base: str, location: str) -> str:
    """Return where a redirect or an upload location leads, seen from `base`.

    Raises:
        EndpointFailed: it leads nowhere, or from https to plain HTTP.
    """
    try:
        target = urljoin(base, location)
        parts = urlsplit(target)
        sound = parts.scheme in _PORTS and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:
        sound = False
    if not sound:
        raise EndpointFailed(f"the registry {urlsplit(base).netloc} sent us to no usable address")
    if urlsplit(base).scheme == "https" and parts.scheme != "https":
        raise EndpointFailed(
            f"the registry {urlsplit(base).netloc} sent us from https to plain HTTP",
            fix="a proxy in front of the registry must tell it that it is reached over https",
        )
    return target


def _reached(peer: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return where a packet to this address ends: behind a translator that may be IPv4."""
    if isinstance(peer, IPv4Address):
        return peer
    if any(peer in network for network in _TRANSLATED):
        return IPv4Address(int(peer) & 0xFFFFFFFF)
    return peer.ipv4_mapped or peer.sixtofour or peer


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").lower()


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, _host(parts), parts.port or _PORTS.get(parts.scheme)


def _listed(host: str, patterns: tuple[str, ...]) -> bool:
    return any(
        host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
        for pattern in patterns
    )
