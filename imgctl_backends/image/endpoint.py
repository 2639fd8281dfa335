"""What an environment is for images, and the plugin's own settings."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import DirectoryPath, Field, FilePath, field_validator, model_validator

from imgctl_backends.image.ecr.hosts import is_ecr_host
from imgctl_backends.image.ecr.template import RepositoryTemplate
from imgctl_backends.image.references import is_repository
from imgctl_backends.image.wire.rate_table import RateTable
from imgctl_core.promoter import PluginModel

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_SPLIT = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[^:\[\]]*)(?::([0-9]{1,5}))?", re.ASCII)
_TRUSTED = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.:-]*[A-Za-z0-9])?", re.ASCII)

#: Docker Hub's name for people, and the host that serves its API.
_HUB_NAMES: Final = ("docker.io", "index.docker.io")
HUB: Final = "registry-1.docker.io"

#: In front of a folder that holds OCI image layouts instead of a registry.
LAYOUT: Final = "oci-layout"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a registry is. `scheme` is empty when it was not said and is to be found out.

    With the scheme `oci-layout` the `host` is the absolute path of a folder.
    """

    scheme: str
    host: str
    port: int | None
    prefix: str

    def __str__(self) -> str:
        return self.netloc

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether the host is `localhost` or a literal loopback address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def place(self) -> tuple[str, int, str]:
        """Return what makes two addresses one place, however they are written."""
        if self.scheme == LAYOUT:
            return os.path.realpath(self.host), 0, ""
        host = "127.0.0.1" if self.host == "localhost" else self.host
        default = 80 if self.scheme == "http" else 443
        return host, self.port or default, self.prefix

    def repository(self, name: str) -> str:
        """Return the name by which this registry knows an image."""
        return f"{self.prefix}/{name}" if self.prefix else name


def parse_address(text: str) -> Address:
    """Parse `[http://|https://]host[:port][/prefix]` or `oci-layout:/folder`.

    Raises:
        ValueError: it is something else; the message says what.
    """
    if text.startswith(f"{LAYOUT}:"):
        return _parse_folder(text.removeprefix(f"{LAYOUT}:"))
    scheme, mark, rest = text.rpartition("://")
    if mark and scheme not in ("http", "https"):
        raise ValueError("a registry starts with https://, http:// or its host name")
    if "@" in rest:
        raise ValueError("a registry holds no user name: use username and password_file")
    if "?" in rest or "#" in rest:
        raise ValueError("a registry is a host and a prefix, without '?' and '#'")
    netloc, _, prefix = rest.partition("/")
    prefix = prefix.rstrip("/")
    parts = _SPLIT.fullmatch(netloc)
    if parts is None:
        raise ValueError("a registry is written host, host:port or host:port/prefix")
    host, port = parts[1].lower(), int(parts[2]) if parts[2] else None
    if host.startswith("["):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif _HOST.fullmatch(host) is None:
        raise ValueError("the registry's host name is missing or malformed")
    if port is not None and not 0 < port < 65536:
        raise ValueError("the registry's port is not between 1 and 65535")
    if prefix and not is_repository(prefix):
        raise ValueError("what follows the registry's host is no repository name")
    return Address(scheme, HUB if host in _HUB_NAMES else host, port, prefix)


def _parse_folder(path: str) -> Address:
    if not path.startswith("/") or not path.isprintable():
        raise ValueError("a folder of OCI image layouts is given by its absolute path")
    return Address(LAYOUT, os.path.normpath("/" + path.lstrip("/")), None, "")


class ImageEndpoint(PluginModel):
    """A registry, or a folder of one, and how to speak with it.

    `token_hosts` are further hosts that this registry may send us to: to fetch a token
    with our credentials, and to read or write bytes even at a private address. An entry
    is a host name, or `*.` and a domain.

    `create_repositories` says how an ECR repository that is missing is made, or
    "on-push" where ECR does so by a creation template of its own; without it a missing
    repository is an error. `rates` are calls a second, by action, in place of those of
    the settings; registries other than ECR have no limits but these.
    """

    registry: str
    auth: Literal["auto", "none", "basic", "ecr"] = "auto"
    username: str | None = None
    password_file: FilePath | None = None
    ca_file: FilePath | None = None
    plain_http: bool = False
    region: str | None = None
    registry_id: str | None = Field(default=None, pattern=r"^[0-9]{12}$")
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    token_hosts: tuple[str, ...] = ()
    create_repositories: RepositoryTemplate | Literal["on-push"] | None = None
    rates: RateTable = Field(default_factory=RateTable)

    @field_validator("registry")
    @classmethod
    def _registry_is_an_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @field_validator("token_hosts")
    @classmethod
    def _token_hosts_are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if _TRUSTED.fullmatch(host) is None:
                raise ValueError(f"'{host}' is neither a host name nor '*.' and a domain")
        return tuple(host.lower() for host in value)

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.layout and (useless := sorted(self.model_fields_set - {"registry"})):
            raise ValueError(f"{useless[0]} has no use with a folder of OCI image layouts")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together: give both or none")
        if self.username is not None and self.auth in ("none", "ecr"):
            raise ValueError(f'username has no use with auth = "{self.auth}"')
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("external_id has no use without role_arn")
        if self.plain_http and self.registry.startswith("https://"):
            raise ValueError("plain_http contradicts the https:// of the registry")
        if self.create_repositories is not None and not self.ecr:
            raise ValueError("create_repositories is for ECR: others create by themselves")
        return self

    @property
    def ecr(self) -> bool:
        """Whether this is Amazon ECR to us: logins, quotas and its API."""
        if self.auth == "auto":
            return self.username is None and is_ecr_host(self.address.host)
        return self.auth == "ecr"

    @property
    def layout(self) -> bool:
        """Whether this is a folder of OCI image layouts and no registry."""
        return self.registry.startswith(f"{LAYOUT}:")

    @property
    def address(self) -> Address:
        """Return the registry setting in its parts, `plain_http` taken into account."""
        address = parse_address(self.registry)
        if self.plain_http:
            return Address("http", address.host, address.port, address.prefix)
        if not address.scheme and not address.loopback:
            return Address("https", address.host, address.port, address.prefix)
        return address

    @property
    def identity(self) -> tuple[object, ...]:
        """Return what makes us the same client to a registry: equal means one identity."""
        return (
            self.auth,
            self.username,
            self.password_file,
            self.profile,
            self.role_arn,
            self.external_id,
            self.registry_id,
        )


class ImageSettings(PluginModel):
    """The plugin's settings.

    engine
        Who copies: imgctl itself, or the program `crane`.
    crane_path
        Where that program is, when it is not on PATH.
    ecr_region
        Region of ECR logins where the host name holds none.
    jobs, jobs_per_host
        Blobs on their way at once, over all promotions, and how many of them are read
        from, or written to, one host.
    requests
        Requests that move no blob, such as lookups and manifests, under way at once.
    memory_mib
        What all blobs on their way may hold in memory together, in MiB, beside what TLS
        and the sockets buffer. One blob is always let through.
    kept_bytes
        So much of one blob is kept in memory for another attempt at its upload.
    spool_bytes, spool_dir
        What is kept of larger blobs goes to files there, together no larger than this; 0
        reads the source again instead. The system's folder for temporary files unless
        said otherwise.
    attempts, retry_seconds
        How often and how long a call is tried before we give up, counted from the first
        fault. A copy that gets on begins both anew.
    connect_seconds, stall_seconds
        How long a connection may take, and how long it may stand still.
    chunk_bytes
        Blobs are read and sent in pieces of this size. A slow line must carry it in
        `stall_seconds`.
    manifest_bytes
        Larger manifests are refused. ECR's own limit is the default.
    referrers
        What else travels with an image: "all" its signatures and other referrers,
        "none", or "refresh": also those that came after the image was promoted.
    require_signed
        Images without a signature are not promoted, and none without it. Whose it is,
        and whether it is good, is for those to check who run the image.
    fail_on_refused
        An image fails when something that belongs to it can't be brought or is refused;
        otherwise that is noted in the result.
    rates
        Calls a second to ECR registries, by action, in place of four fifths of ECR's
        default quotas. One place has one limit, however many promotions there are.
    """

    engine: Literal["native", "crane"] = "native"
    crane_path: FilePath | None = None
    ecr_region: str = "us-east-1"
    jobs: int = Field(default=48, ge=1, le=256)
    jobs_per_host: int = Field(default=32, ge=1, le=256)
    requests: int = Field(default=32, ge=1, le=256)
    memory_mib: int = Field(default=48, ge=1)
    kept_bytes: int = Field(default=1024 * 1024, ge=4096)
    spool_bytes: int = Field(default=1024 * 1024 * 1024, ge=0)
    spool_dir: DirectoryPath | None = None
    attempts: int = Field(default=6, ge=1, le=50)
    retry_seconds: float = Field(default=120.0, ge=0)
    connect_seconds: float = Field(default=5.0, gt=0)
    stall_seconds: float = Field(default=60.0, gt=0)
    chunk_bytes: int = Field(default=256 * 1024, ge=4096, le=16 * 1024 * 1024)
    manifest_bytes: int = Field(default=4 * 1024 * 1024, ge=65536)
    referrers: Literal["all", "none", "refresh"] = "all"
    require_signed: bool = False
    fail_on_refused: bool = False
    rates: RateTable = Field(default_factory=RateTable)

    @model_validator(mode="after")
    def _signatures_travel(self) -> Self:
        if self.require_signed and self.referrers == "none":
            raise ValueError('require_signed contradicts referrers = "none"')
        if self.engine == "crane" and (self.require_signed or self.fail_on_refused):
            raise ValueError(
                "require_signed and fail_on_refused need the native engine: crane leaves "
                "signatures behind"
            )
        return self
