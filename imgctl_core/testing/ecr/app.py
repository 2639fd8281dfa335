"""The registry with ECR's ways, and the hosts beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from imgctl_core.testing.ecr.access import USERNAME, EcrAccess
from imgctl_core.testing.ecr.api import ApiCall, EcrApi
from imgctl_core.testing.ecr.limits import Limits
from imgctl_core.testing.ecr.links import BlobHost
from imgctl_core.testing.ecr.repositories import Mutability, Repositories, RepositorySettings
from imgctl_core.testing.ecr.uploads import EcrUploads
from imgctl_core.testing.ecr.validator import Lag, Validator
from imgctl_core.testing.httpd import Broken, Request, Response
from imgctl_core.testing.registry.app import LARGEST_MANIFEST, Registry
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import check_digest, check_name
from imgctl_core.testing.registry.manifests import ManifestRules

_ACTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("uploads", "POST"): "InitiateLayerUpload",
    ("upload", "PATCH"): "UploadLayerPart",
    ("upload", "PUT"): "CompleteLayerUpload",
    ("blob", "HEAD"): "BatchCheckLayerAvailability",
    ("blob", "GET"): "GetDownloadUrlForLayer",
    ("manifest", "HEAD"): "BatchGetImage",
    ("manifest", "GET"): "BatchGetImage",
    ("manifest", "PUT"): "PutImage",
}
_LEAST_PART: Final = 5 * 1024 * 1024
_LONGEST_PAGE: Final = 1000


class EcrRegistry(Registry):
    """A `Registry` with what tools trip over at Amazon ECR.

    A context manager of three servers: the registry (`url`, `host`), ECR's API beside it
    (`api`, `api_url`, for AWS_ENDPOINT_URL_ECR; plain HTTP) and the host of the blobs
    (`blob_host`). They agree, since they look at the same state.

    - It wants Basic AWS:password; `issue_password` and GetAuthorizationToken issue one,
      and an expired one is 403.
    - Repositories don't come into being by a push, unless `create_on_push` has settings
      for them; an upload to a missing one is cut (`cut_missing` False: 404).
    - Reading a blob is a redirect to a presigned link of another host.
    - Uploads, mounts and immutable tags are as `EcrUploads` and `Validator` say.
    - `limits` are per action and answer 429; `lag` is the validator's.

    Sources: users' reports to the tools that copy to ECR, and ECR's guide. `least_part`
    is in bytes, times are in seconds.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_port: int = 0,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        account: str = "123456789012",
        region: str = "eu-west-1",
        token_lifetime: float = 12 * 3600.0,
        link_lifetime: float = 3600.0,
        least_part: int = _LEAST_PART,
        largest_manifest: int = LARGEST_MANIFEST,
        folder: Path | None = None,
    ) -> None:
        super().__init__(
            host=host,
            port=port,
            tls_cert=tls_cert,
            tls_key=tls_key,
            username=USERNAME,
            page_size=_LONGEST_PAGE,
            folder=folder,
        )
        self.account = account
        self.region = region
        self.limits = Limits()
        self.create_on_push: RepositorySettings | None = None
        self.cut_missing = True
        self._known = Repositories(self._state)
        self._validator = Validator(self._known, account)
        self._passwords = EcrAccess(token_lifetime, lambda: self.url)
        self._access = self._passwords
        self._layers = EcrUploads(
            self._state,
            self._known,
            least_part=least_part,
            absolute_url=lambda path: self.url + path,
            committed=self._validator.committed,
        )
        self._uploads = self._layers
        self._rules = ManifestRules(
            largest_manifest,
            sparse=True,
            immutable_tags=False,
            referrers=True,
            check=self._validator.check,
        )
        self.blob_host = BlobHost(
            self._state, host=host, tls_cert=tls_cert, tls_key=tls_key, lifetime=link_lifetime
        )
        self.api = EcrApi(
            self._state,
            self._known,
            self._validator,
            self._passwords,
            self._layers,
            self.limits,
            account=account,
            region=region,
            registry_url=lambda: self.url,
            host=host,
            port=api_port,
        )
        table = {kind: dict(methods) for kind, methods in self._table().items()}
        table["blob"]["GET"] = self._redirect
        self._endpoints = table

    def start(self) -> Self:
        super().start()
        self.blob_host.start()
        self.api.start()
        return self

    def stop(self) -> None:
        self.api.stop()
        self.blob_host.stop()
        super().stop()

    @property
    def api_url(self) -> str:
        return self.api.url

    @property
    def api_calls(self) -> tuple[ApiCall, ...]:
        """The calls of the API so far."""
        return self.api.calls

    def issue_password(self) -> str:
        """Return a new password for the user AWS, without a request."""
        return self._passwords.issue_password()

    def expire_links(self) -> None:
        """Refuse every link to a blob that was given out until now."""
        self.blob_host.expire_links()

    @property
    def lag(self) -> Lag:
        """How late manifests see blobs that are uploaded from now on."""
        return self._validator.lag

    @lag.setter
    def lag(self, lag: Lag) -> None:
        self._validator.lag = lag

    @property
    def refuse_same(self) -> bool:
        """Whether an immutable tag refuses the digest, too, that it has already."""
        return self._validator.refuse_same

    @refuse_same.setter
    def refuse_same(self, refuse: bool) -> None:
        self._validator.refuse_same = refuse

    @property
    def refused_types(self) -> frozenset[str]:
        """Media types and artifact types of manifests that are not taken: 405."""
        return self._validator.refused_types

    @refused_types.setter
    def refused_types(self, types: Iterable[str]) -> None:
        self._validator.refused_types = frozenset(types)

    @property
    def blob_mounting(self) -> bool:
        """The account setting BLOB_MOUNTING."""
        return self._layers.blob_mounting

    @blob_mounting.setter
    def blob_mounting(self, enabled: bool) -> None:
        self._layers.blob_mounting = enabled

    def create(
        self,
        repository: str,
        *,
        immutable: bool = False,
        mutability: Mutability = "MUTABLE",
        exclusions: tuple[str, ...] = (),
        encryption_type: str = "AES256",
        kms_key: str = "",
    ) -> RepositorySettings:
        """Make a repository, without a request. Return its settings.

        Raises:
            ValueError: there is one of that name.
        """
        settings = RepositorySettings(
            mutability="IMMUTABLE" if immutable else mutability,
            exclusions=exclusions,
            encryption_type=encryption_type,
            kms_key=kms_key,
        )
        if not self._known.create(repository, settings):
            raise ValueError(f"there is a repository {repository}")
        return settings

    def settings(self, repository: str) -> RepositorySettings | None:
        """Return a repository's settings, None when it does not exist."""
        return self._known.find(repository)

    def _dispatch(self, request: Request, kind: str, found: re.Match[str]) -> Response:
        name = check_name(found["name"])
        self._access.check(request, name, "pull")
        action = _ACTIONS.get((kind, request.method), "")
        if action and not self.limits.take(action):
            raise RegistryError("TOOMANYREQUESTS", "Rate exceeded")
        if self._known.find(name) is None:
            self._missing(request, kind, name)
        return super()._dispatch(request, kind, found)

    def _missing(self, request: Request, kind: str, name: str) -> None:
        pushes = request.method in ("POST", "PUT", "PATCH")
        if pushes and self.create_on_push is not None:
            self._known.create(name, self.create_on_push)
            return
        if pushes and kind in ("upload", "uploads") and self.cut_missing:
            raise Broken("an upload to a repository that does not exist")
        raise RegistryError(
            "NAME_UNKNOWN",
            f"The repository with name '{name}' does not exist in the registry with id "
            f"'{self.account}'",
        )

    def _redirect(self, request: Request, name: str, reference: str) -> Response:
        digest = check_digest(reference)
        if not self._state.has_blob(name, digest):
            raise RegistryError("BLOB_UNKNOWN", f"{name} holds no blob {digest}")
        return Response(307, {"Location": self.blob_host.link(digest)})
